package kafkatest

import "syscall"

// Mortal lets a process die with the test, however that ends: a JVM, or a stage, that outlives
// it would go on for ever.
func Mortal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

package kafkatest

import "syscall"

// mortal lets a broker die with the test, however that ends.
func mortal() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

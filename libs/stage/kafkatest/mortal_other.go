//go:build !linux

package kafkatest

import "syscall"

// Mortal does nothing here: a test that is killed leaves its processes.
func Mortal() *syscall.SysProcAttr { return nil }

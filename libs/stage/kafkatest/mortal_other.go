//go:build !linux

package kafkatest

import "syscall"

// mortal does nothing here: a test that is killed leaves its brokers.
func mortal() *syscall.SysProcAttr { return nil }

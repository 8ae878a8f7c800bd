//go:build !linux

package file

import (
	"context"
	"os"
)

func startSync(*os.File) {}

func dataSync(f *os.File) error { return f.Sync() }

// Free is not known here.
func (s *Store) Free(context.Context) (int64, bool) { return 0, false }

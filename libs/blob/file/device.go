package file

import "os"

// device makes things durable. It is one so that a test can cut the power.
type device interface {
	// flush returns when the bytes of f, and the length that is needed to read
	// them, survive a loss of power.
	flush(f *os.File) error
	// flushFolder returns when the names in a folder do.
	flushFolder(path string) error
}

// disk is the device that there is.
type disk struct{}

func (disk) flush(f *os.File) error { return dataSync(f) }

func (disk) flushFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

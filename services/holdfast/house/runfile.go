package house

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// RunFile is <data>/run.json: where a running one-machine mode can be reached.
// It holds the password of the ledger's read-only user, so only its owner may
// read it.
type RunFile struct {
	PID    int      `json:"pid"`
	Region string   `json:"region"`
	Kafka  []string `json:"kafka"`
	// Metrics is the URL that Prometheus asks; /livez and /readyz are beside it.
	Metrics string     `json:"metrics"`
	Ledger  *RunLedger `json:"ledger,omitempty"` // absent: blind
	Vault   []string   `json:"vault"`            // where the targets are: folders, or URLs of buckets
}

// RunLedger is how to ask the ledger, as a user who can only read.
type RunLedger struct {
	Addr     string `json:"addr"` // native protocol
	HTTP     string `json:"http"`
	User     string `json:"user"`
	Password string `json:"password"`
}

const runFile = "run.json"

// Write replaces <data>/run.json at once.
func (r RunFile) Write(data string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", runFile, err)
	}
	tmp := filepath.Join(data, runFile+".new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", runFile, err)
	}
	return os.Rename(tmp, filepath.Join(data, runFile))
}

// ErrNotRunning means that data holds no run.json: nothing runs there, or it
// was never started.
var ErrNotRunning = errors.New("no service runs there")

// ReadRunFile reads <data>/run.json.
func ReadRunFile(data string) (RunFile, error) {
	path := filepath.Join(data, runFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return RunFile{}, fmt.Errorf("%s: %w", data, ErrNotRunning)
	}
	if err != nil {
		return RunFile{}, err
	}
	var r RunFile
	if err := json.Unmarshal(b, &r); err != nil {
		return RunFile{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(r.Kafka) == 0 || r.Region == "" {
		return RunFile{}, fmt.Errorf("read %s: it names no broker or no region: it is written anew when the service starts", path)
	}
	return r, nil
}

// RemoveRunFile says that nothing runs any more.
func RemoveRunFile(data string) { os.Remove(filepath.Join(data, runFile)) }

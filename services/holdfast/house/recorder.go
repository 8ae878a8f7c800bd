package house

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
	"github.com/holdfast-backup/holdfast/services/auditor"
	"github.com/holdfast-backup/holdfast/services/recorder"
)

func openRecorder(p *Parts) ([]stage.Stage, error) {
	c, err := section(p, "recorder", recorder.Default())
	if err != nil {
		return nil, err
	}
	l, err := p.ledger()
	if err != nil {
		return nil, err
	}
	return one(recorder.Stage(c, recorder.Deps{Ledger: l, Vault: p.Conf.Vault.Name, Gauge: p.gauge})), nil
}

// openLedger connects to nothing yet: a ledger that is down stops no start.
func (p *Parts) openLedger() (*ledger.Ledger, error) {
	c := p.Conf.Ledger
	if c.Addr == "" {
		return nil, errors.New("ledger.addr: no ledger is configured")
	}
	l := ledger.Config{Addr: c.Addr, User: c.User, Keep: ledger.Keep{Places: time.Duration(c.KeepPlaces)}}
	if c.PasswordFile != "" {
		l.Secret = Secret(c.PasswordFile)
	}
	opened, err := ledger.Open(l)
	if err == nil {
		p.ends = append(p.ends, func() { // an engine waits for its clients when it stops
			if err := opened.Close(); err != nil {
				p.Log.Warn("close the ledger", "err", err)
			}
		})
	}
	return opened, err
}

// Window is what a backup of this house promises to end in.
func Window(c *conf.Config) (time.Duration, error) {
	a := auditor.Default()
	err := c.Section("auditor", &a)
	return a.Window, err
}

// Secret reads a password's file each time it is asked.
func Secret(path string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("password: %w", err)
		}
		return strings.TrimSpace(string(b)), nil
	}
}

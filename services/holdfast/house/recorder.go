package house

import (
	"errors"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/libs/stage"
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
	pass := ""
	if c.PasswordFile != "" {
		b, err := Passphrase(c.PasswordFile)
		if err != nil {
			return nil, err
		}
		pass = strings.TrimSpace(string(b))
	}
	return ledger.Open(ledger.Config{Addr: c.Addr, User: c.User, Password: pass, Keep: ledger.Keep{Places: time.Duration(c.KeepPlaces)}})
}

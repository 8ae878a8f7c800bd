// Package ledger is the house's memory of what happened, in ClickHouse: what
// became of each place, what each stage did, how each backup stands.
//
// It is a copy and never a judge. Nothing waits for it, so a server that is down,
// old or gone stops no backup; what is written into it is written once, however
// often it is sent (see Insert). schemas/ledger has the tables, which are a public
// contract; this package is the only one that knows the client.
package ledger

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

const (
	// conns bounds how many inserts run at once. Two writers fill two cores.
	conns       = 8
	dialMax     = 5 * time.Second
	readMax     = 60 * time.Second // a question over 100M rows takes 2.4 s
	connMax     = 10 * time.Minute // a server behind a balancer moves
	clientName  = "holdfast"
	serverReads = "SELECT 1"
)

// Config says where the ledger is and how long it remembers.
type Config struct {
	Addr     string // native protocol, host:port
	User     string
	Password string
	// Secret, if there, is asked for the password at each new connection, so that one
	// that was changed while we run is used without a restart.
	Secret func() (string, error)
	TLS    *tls.Config // nil: none
	Keep   Keep
}

// Ledger is a connection to the server, made when it is first needed. It may be
// used from several goroutines.
type Ledger struct {
	conn driver.Conn
	keep Keep

	mu     sync.Mutex
	looked time.Time // when the tables were last as we know them; zero: they were not
}

// Open checks c and connects to nothing: a server that is down now may be up
// when the first question comes.
func Open(c Config) (*Ledger, error) {
	if c.Addr == "" {
		return nil, errors.New("ledger: no address")
	}
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:            []string{c.Addr},
		TLS:             c.TLS,
		Auth:            clickhouse.Auth{Database: "default", Username: c.User, Password: c.Password},
		ClientInfo:      clickhouse.ClientInfo{Products: []struct{ Name, Version string }{{Name: clientName}}},
		Compression:     &clickhouse.Compression{Method: clickhouse.CompressionLZ4},
		DialTimeout:     dialMax,
		ReadTimeout:     readMax,
		MaxOpenConns:    conns,
		MaxIdleConns:    conns,
		ConnMaxLifetime: connMax,
		DialStrategy:    c.dial,
	})
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", c.Addr, err)
	}
	return &Ledger{conn: conn, keep: c.Keep.orDefault()}, nil
}

// dial is the client's own, with the password of this moment.
func (c Config) dial(ctx context.Context, id int, o *clickhouse.Options, dial clickhouse.Dial) (clickhouse.DialResult, error) {
	if c.Secret != nil {
		password, err := c.Secret()
		if err != nil {
			return clickhouse.DialResult{}, err
		}
		fresh := *o
		fresh.Auth.Password = password
		o = &fresh
	}
	return clickhouse.DefaultDialStrategy(ctx, id, o, dial)
}

// Ping says whether the server answers this user.
func (l *Ledger) Ping(ctx context.Context) error {
	if err := l.conn.Exec(ctx, serverReads); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// Close ends the connections. Inserts under way fail, and are repeated by whoever
// sent them.
func (l *Ledger) Close() error { return l.conn.Close() }

// lookEvery is how long a program may write into tables that a newer one has
// changed. Where they only have more columns it goes on.
const lookEvery = time.Minute

// ready migrates once in a process, and again after the tables were gone. Now and
// then it looks whether a newer program shut us out.
func (l *Ledger) ready(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.looked) < lookEvery {
		return nil
	}
	look := l.stillKnown
	if l.looked.IsZero() {
		look = l.Migrate
	}
	err := look(ctx)
	switch {
	case err == nil:
		l.looked = time.Now()
	case gone(err):
		l.looked = time.Time{}
	}
	return err
}

// lost notes that the tables are gone: a server that lost its disk starts anew.
func (l *Ledger) lost(err error) {
	if gone(err) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.looked = time.Time{}
	}
}

func gone(err error) bool {
	const unknownTable, unknownDatabase = 60, 81
	e, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && (e.Code == unknownTable || e.Code == unknownDatabase)
}

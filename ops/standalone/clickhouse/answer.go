package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// answers waits until the server answers its users over HTTP and listens for
// the native protocol. A stranger on our port does not know our users.
func (s *Server) answers(ctx context.Context, users []User) error {
	var last error
	for {
		if last = s.ask(ctx, users); last == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended by itself (%v)", s.err)
		case <-ctx.Done():
			return fmt.Errorf("no answer (%w), the last was: %w", ctx.Err(), last)
		case <-time.After(look):
		}
	}
}

func (s *Server) ask(ctx context.Context, users []User) error {
	path := "/ping"
	if len(users) > 0 {
		path = "/?query=SELECT+1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.httpAddr+path, nil)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		req.SetBasicAuth(users[0].Name, users[0].Password)
	}
	req.Close = true // an idle connection would delay the engine's stop
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(io.LimitReader(res.Body, 200)); res.StatusCode != http.StatusOK {
		return errors.New(string(text))
	}
	native, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err
	}
	return native.Close()
}

// Ports returns those that Start would take now: what o asks for, else those of
// last time, where they are free, else any. Whoever starts an engine again and again
// fixes them by it, so that all find it at one address.
func Ports(o Options) (http, tcp int, err error) {
	var lastHTTP, lastTCP int
	if b, err := os.ReadFile(portsFile(o.Dir)); err == nil {
		_, _ = fmt.Sscan(string(b), &lastHTTP, &lastTCP) // a torn file is no file
	}
	host := cmp.Or(o.Host, loopback)
	if http, err = choose(host, o.HTTPPort, lastHTTP, 0); err != nil {
		return 0, 0, err
	}
	tcp, err = choose(host, o.TCPPort, lastTCP, http)
	return http, tcp, err
}

func portsFile(dir string) string { return filepath.Join(dir, "ports") }

// choosePorts returns ports that are free now, and remembers them: what an
// operator wrote down yesterday holds today.
func choosePorts(o Options) (http, tcp int, err error) {
	if http, tcp, err = Ports(o); err != nil {
		return 0, 0, err
	}
	if err := writeWhole(portsFile(o.Dir), fmt.Appendln(nil, http, tcp)); err != nil {
		return 0, 0, fmt.Errorf("engine folder: %w", err)
	}
	return http, tcp, nil
}

// portTries is how often ports are chosen: one that is free may be another's when
// the engine, a second later, listens on it.
const portTries = 3

func taken(host string, port int) bool {
	_, err := free(host, port)
	return err != nil
}

func choose(host string, asked, last, not int) (int, error) {
	if asked != 0 {
		if _, err := free(host, asked); err != nil {
			return 0, fmt.Errorf("ledger port %d: %w", asked, err)
		}
		return asked, nil
	}
	if last != 0 {
		if p, err := free(host, last); err == nil {
			return p, nil
		}
	}
	for {
		p, err := free(host, 0)
		if err != nil || p != not {
			return p, err
		}
	}
}

func free(host string, port int) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

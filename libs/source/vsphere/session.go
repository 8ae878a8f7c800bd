package vsphere

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"time"

	"github.com/vmware/govmomi/fault"
	vim "github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	// callsMax at once: a vCenter serves some hundreds of sessions and calls; the
	// 200 machines of a run must not be 200 of them.
	callsMax = 16
	// callTimeout is for one call of the API. Those that do work at the vCenter
	// answer with a task at once; a page of the inventory takes seconds.
	callTimeout = 2 * time.Minute
	// idleMax: a vCenter ends a session that was idle for 30 minutes.
	idleMax = 5 * time.Minute
	// refusedFor is how long a password that was refused is not tried again: accounts
	// are locked after a few wrong ones.
	refusedFor = time.Minute
	// streamsIdle connections per host are kept for the next range.
	streamsIdle = 16
)

// session is the one session that this process has with a vCenter. It is opened
// by the first call, and again by any call that finds it gone.
type session struct {
	o     Options
	url   *url.URL
	trust *trust
	log   *slog.Logger
	http  *http.Client // with the session's cookie
	calls chan struct{}

	login  chan struct{} // the right to log in; a channel, because it is held over the network
	mu     sync.Mutex
	raw    *vim25.Client // nil: never connected
	caller *vim25.Client // raw, that logs in again
	serial int           // of the login
	used   time.Time
	stop   context.CancelFunc // of the keep-alive

	refused   string // the password that was refused last, and when
	refusedAt time.Time
}

func newSession(o Options, u *url.URL, t *trust) *session {
	return &session{o: o, url: u, trust: t, log: o.Log.With("vcenter", u.Host), calls: make(chan struct{}, callsMax), login: make(chan struct{}, 1)}
}

// client is how calls are made: bounded, and by whoever is logged in.
func (s *session) client(ctx context.Context) (*vim25.Client, error) {
	s.mu.Lock()
	c, serial := s.caller, s.serial
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	if err := s.renew(ctx, serial); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.caller, nil
}

// renew logs in, unless somebody did since the login of that serial number.
func (s *session) renew(ctx context.Context, serial int) error {
	select {
	case s.login <- struct{}{}:
		defer func() { <-s.login }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.mu.Lock()
	raw, now := s.raw, s.serial
	s.mu.Unlock()
	if now != serial {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if raw == nil {
		var err error
		if raw, err = s.connect(ctx); err != nil {
			return s.unreachable(err)
		}
	} else {
		s.log.Info("the session is gone: log in again")
	}
	if err := s.enter(ctx, raw); err != nil {
		return err
	}
	again := *raw
	again.RoundTripper = &caller{s, raw}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw, s.caller, s.serial, s.used = raw, &again, s.serial+1, time.Now()
	if s.stop == nil {
		alive, stop := context.WithCancel(context.Background())
		s.stop = stop
		go s.keepAlive(alive)
	}
	return nil
}

// connect asks the vCenter who it is.
func (s *session) connect(ctx context.Context) (*vim25.Client, error) {
	c := soap.NewClient(s.url, false)
	t := c.DefaultTransport()
	// A vCenter and its hosts are reached directly: a proxy of the environment is
	// for the world outside, and would get the certificate's check past us.
	t.Proxy, t.DialTLSContext, t.MaxIdleConnsPerHost = nil, s.trust.dial, streamsIdle
	raw, err := vim25.NewClient(ctx, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.http = &c.Client
	return raw, nil
}

// enter logs in.
func (s *session) enter(ctx context.Context, raw *vim25.Client) error {
	password, err := s.o.Password()
	if err != nil {
		return fmt.Errorf("vCenter %s: the password of %q: %w", s.url.Host, s.o.User, err)
	}
	if password == s.refused && time.Since(s.refusedAt) < refusedFor {
		return s.wrong("refused a moment ago, and the password has not changed: not tried again, so that the account is not locked")
	}
	err = vim.NewManager(raw).Login(ctx, url.UserPassword(s.o.User, password))
	switch {
	case err == nil:
		return nil
	case fault.Is(err, &types.InvalidLogin{}):
		s.refused, s.refusedAt = password, time.Now()
		return s.wrong("wrong user name or password")
	case fault.Is(err, &types.NoPermission{}):
		return s.wrong("the account has no right to log in: give it a role at the vCenter (see ops/docs/vsphere.md)")
	}
	return s.unreachable(err)
}

func (s *session) wrong(why string) error {
	return denied{fmt.Errorf("vCenter %s refuses user %q: %s; check user and password_file", s.url.Host, s.o.User, why)}
}

// unreachable says why nothing was heard, and from whom.
func (s *session) unreachable(err error) error {
	var u *untrusted
	if errors.As(err, &u) {
		return fmt.Errorf("vCenter %s: %w", s.url.Host, u)
	}
	return fmt.Errorf("vCenter %s can't be reached: %w", s.url.Host, err)
}

// keepAlive keeps the session from being idle for too long.
func (s *session) keepAlive(ctx context.Context) {
	for {
		select {
		case <-time.After(idleMax):
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		c, idle := s.caller, time.Since(s.used)
		s.mu.Unlock()
		if idle < idleMax {
			continue
		}
		if _, err := methods.GetCurrentTime(ctx, c); err != nil && ctx.Err() == nil {
			s.log.Warn("keep the session alive", "err", err)
		}
	}
}

// logout ends the session, if there is one.
func (s *session) logout(ctx context.Context) error {
	s.mu.Lock()
	raw, stop := s.raw, s.stop
	s.raw, s.caller, s.stop = nil, nil, nil
	s.mu.Unlock()
	if raw == nil {
		return nil
	}
	stop()
	err := vim.NewManager(raw).Logout(ctx)
	raw.CloseIdleConnections()
	if err != nil && !fault.Is(err, &types.NotAuthenticated{}) {
		return fmt.Errorf("vCenter %s: log out: %w", s.url.Host, err)
	}
	return nil
}

// caller makes calls in turn, and once more after a new login if the session is gone.
type caller struct {
	s   *session
	raw *vim25.Client
}

func (c *caller) RoundTrip(ctx context.Context, req, res soap.HasFault) error {
	select {
	case c.s.calls <- struct{}{}:
		defer func() { <-c.s.calls }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.s.mu.Lock()
	serial := c.s.serial
	c.s.used = time.Now()
	c.s.mu.Unlock()
	err := c.once(ctx, req, res)
	if !fault.Is(err, &types.NotAuthenticated{}) {
		return err
	}
	if err := c.s.renew(ctx, serial); err != nil {
		return err
	}
	reflect.ValueOf(res).Elem().SetZero() // the old fault would stand in the new answer
	return c.once(ctx, req, res)
}

func (c *caller) once(ctx context.Context, req, res soap.HasFault) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %s", callTimeout))
	defer cancel()
	err := c.raw.RoundTrip(ctx, req, res)
	switch {
	case err == nil:
		return hidden(res)
	case soap.IsSoapFault(err):
		return err
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return c.s.unreachable(err)
}

// hidden finds the fault of a session that is gone where the property collector
// hides it: in the list of what it could not give.
func hidden(res soap.HasFault) error {
	body, ok := res.(*methods.RetrievePropertiesExBody)
	if !ok || body.Res == nil || body.Res.Returnval == nil {
		return nil
	}
	for _, o := range body.Res.Returnval.Objects {
		for _, m := range o.MissingSet {
			if fault.Is(m.Fault.Fault, &types.NotAuthenticated{}) {
				return soap.WrapVimFault(m.Fault.Fault)
			}
		}
	}
	return nil
}

package vsphere_test

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/source"
	"github.com/holdfast-backup/holdfast/libs/source/vsphere"
	"github.com/holdfast-backup/holdfast/ops/standalone/vcenter"
)

// Settings that can't be right are told at once, and none of them connects.
func TestOpenRefuses(t *testing.T) {
	good := func() (string, error) { return "x", nil }
	for want, o := range map[string]vsphere.Options{
		"want https://host":         {URL: "http://vc", User: "u", Password: good},
		"have settings of their":    {URL: "https://u:p@vc", User: "u", Password: good},
		"want auto, nfc or datast":  {URL: "vc.example", User: "u", Password: good, Transport: "hotadd"},
		"user and password are":     {URL: "https://vc.example", Password: good},
		"want the SHA-256 (32 byte": {URL: "https://vc.example", User: "u", Password: good, Thumbprint: "AA:BB"},
		"ca_file: open":             {URL: "https://vc.example", User: "u", Password: good, CAFile: "/nowhere"},
		"holds no PEM":              {URL: "https://vc.example", User: "u", Password: good, CAFile: "session_test.go"},
	} {
		if _, err := vsphere.Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %+v: %v, want %q", o, err, want)
		}
	}
	s := open(t, vsphere.Options{URL: "https://127.0.0.1:1", User: "u", Password: good})
	if _, err := s.List(t.Context()); err == nil || !strings.Contains(err.Error(), "vCenter 127.0.0.1:1 can't be reached") {
		t.Errorf("a vCenter that is down: %v", err)
	}
}

// Who is trusted, and what is said if not: which vCenter, what was seen, what to do.
func TestTrust(t *testing.T) {
	v := start(t, vcenter.Options{})
	try := func(change func(*vsphere.Options)) error {
		o := options(v)
		change(&o)
		_, err := open(t, o).List(t.Context())
		return err
	}
	for name, change := range map[string]func(*vsphere.Options){
		"thumbprint": func(*vsphere.Options) {},
		"thumbprint as people copy": func(o *vsphere.Options) {
			o.Thumbprint = " " + strings.ToLower(strings.ReplaceAll(v.Thumbprint(), ":", ""))
		},
		"authority":                   func(o *vsphere.Options) { o.Thumbprint, o.CAFile = "", v.CAFile() },
		"thumbprint before authority": func(o *vsphere.Options) { o.CAFile = v.CAFile() },
	} {
		if err := try(change); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := "00" + v.Thumbprint()[2:]
	err := try(func(o *vsphere.Options) { o.Thumbprint = wrong })
	for _, want := range []string{"vCenter 127.0.0.1:", v.Thumbprint(), wrong, "set the new thumbprint"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("wrong thumbprint: %v, want %q in it", err, want)
		}
	}
	err = try(func(o *vsphere.Options) { o.Thumbprint = "" })
	for _, want := range []string{"vCenter 127.0.0.1:", v.Thumbprint(), "unknown authority", "set ca_file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nobody to trust: %v, want %q in it", err, want)
		}
	}
}

// A wrong password is told, is not tried again and again, and a new one in the
// file is picked up.
func TestPassword(t *testing.T) {
	v := start(t, vcenter.Options{})
	password, asked := "wrong", 0
	o := options(v)
	o.Password = func() (string, error) {
		asked++
		if password == "" {
			return "", errors.New("open /etc/holdfast/vc.password: permission denied")
		}
		return password, nil
	}
	s := open(t, o)
	for _, want := range []string{"wrong user name or password", "not tried again, so that the account is not locked"} {
		_, err := s.List(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), v.User) || !strings.Contains(err.Error(), "127.0.0.1:") {
			t.Errorf("wrong password: %v, want %q in it", err, want)
		}
		if _, err = s.Prepare(t.Context(), source.Order{Machine: "00000000-0000-4000-8000-000000000000"}); source.IsPermanent(err) || errors.Is(err, source.ErrGone) {
			t.Errorf("a wrong password is said to be for good: %v", err)
		}
	}
	password = ""
	if _, err := s.List(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("a password that can't be read: %v", err)
	}
	password = v.Password
	if _, err := s.List(t.Context()); err != nil {
		t.Errorf("the password was set right: %v", err)
	}
}

// A session that is gone is opened again by the call that finds out, at any call
// of a backup, and by a read of a datastore.
func TestSessionExpires(t *testing.T) {
	for _, method := range []string{"RetrievePropertiesEx", "FindAllByUuid", "CreateSnapshot_Task", "RemoveSnapshot_Task", "QueryChangedDiskAreas",
		"ExportSnapshot", "CreateDescriptor", "ReconfigVM_Task"} {
		t.Run(method, func(t *testing.T) {
			w := newWorld(t, "auto")
			tracking := method != "ReconfigVM_Task"
			id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: tracking, Disks: []vcenter.Disk{disk(1, 2*mib)}})
			o := source.Order{Machine: id, Name: "holdfast-one"}
			var base *point
			if tracking {
				var err error
				base, err = w.backup(o, nil, nil)
				w.ck(err)
				w.write(id, 0, 100, []byte("changed"))
			}
			if method == "ExportSnapshot" {
				base = nil
			}
			_, err := w.s.List(t.Context()) // there is a session to lose
			w.ck(err)
			undo := w.v.Inject(vcenter.SessionExpires{Method: method, When: vcenter.When{Max: 1}})
			defer undo()
			o.Name = "holdfast-two"
			p, err := w.backup(o, base, nil)
			w.ck(err)
			if string(p.bytes[w.keys(id)[0]]) != string(w.guest(id, 0)) {
				t.Error("the backup is not the disk")
			}
			if !strings.Contains(w.log.String(), "log in again") {
				t.Error("the session did not expire")
			}
			w.left()
		})
	}
	w := newWorld(t, "datastore")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, 2*mib)}})
	p, err := w.backup(source.Order{Machine: id, Name: "holdfast-one"}, nil, w.v.ExpireSessions)
	w.ck(err)
	if string(p.bytes[w.keys(id)[0]]) != string(w.guest(id, 0)) {
		t.Error("the backup over a datastore whose session expired is not the disk")
	}
}

// All streams and ranges of a process share a few connections.
func TestConnectionsAreUsedAgain(t *testing.T) {
	w := newWorld(t, "datastore")
	id := w.add(vcenter.Machine{Name: "web", On: true, Tracking: true, Disks: []vcenter.Disk{disk(1, 64*mib)}})
	o := options(w.v)
	proxy, dials := relay(t, strings.TrimPrefix(o.URL, "https://"))
	o.URL, o.Transport = "https://"+proxy, "datastore"
	w.s = open(t, o)
	base, err := w.backup(source.Order{Machine: id, Name: "holdfast-one"}, nil, nil)
	w.ck(err)
	for i := range int64(100) {
		w.write(id, 0, i*600<<10, []byte("changed"))
	}
	before := dials.Load()
	_, err = w.backup(source.Order{Machine: id, Name: "holdfast-two"}, base, nil)
	w.ck(err)
	if n := dials.Load() - before; n > 3 {
		t.Errorf("100 ranges took %d connections", n)
	}
}

// relay counts the connections that are made to a server.
func relay(t *testing.T, to string) (addr string, dials *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dials = new(atomic.Int64)
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			go pipe(a, b)
			go pipe(b, a)
		}
	}()
	return l.Addr().String(), dials
}

func pipe(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := a.Read(buf)
		if n > 0 {
			if _, err := b.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

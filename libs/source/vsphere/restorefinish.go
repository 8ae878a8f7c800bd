package vsphere

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/holdfast-backup/holdfast/libs/source"
)

// Finish completes the lease and gives the machine what a lease can't. The mark
// that says it is whole comes last but for the switch: before it, a crash leads to
// the machine being removed and made again, after it, to its being found.
func (r *returning) Finish(ctx context.Context) (*source.Returned, error) {
	if err := r.complete(ctx); err != nil {
		return nil, r.m.fail("complete its import lease", err)
	}
	extra := []types.BaseOptionValue{&types.OptionValue{Key: returnKey, Value: r.o.Name}}
	nvram, err := r.nvram(ctx)
	if err != nil {
		return nil, err
	}
	if nvram != "" {
		extra = append(extra, &types.OptionValue{Key: "nvram", Value: nvram})
	}
	if err := r.labels(ctx); err != nil {
		return nil, err
	}
	if err := r.m.reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: extra}); err != nil {
		return nil, r.m.fail("mark it as whole", err)
	}
	if r.o.PowerOn {
		if err := r.m.powerOn(ctx); err != nil {
			r.warn("it is restored, and could not be switched on: %v", explain(err))
		}
	}
	return &source.Returned{Machine: r.m.id, Name: r.name, Via: TransportNFC, Kept: r.kept, Warnings: r.warnings}, nil
}

// complete gives the lease back. One that is gone may have been completed by a call
// whose answer was lost: then the machine is there. One that died took it along.
func (r *returning) complete(ctx context.Context) error {
	if r.ended {
		return nil
	}
	r.l.mu.Lock()
	broken, died := r.l.broken, r.l.died
	r.l.mu.Unlock()
	if broken || died != nil {
		return errors.Join(errors.New("an upload of it broke"), died)
	}
	_, err := methods.HttpNfcLeaseComplete(ctx, r.l.c, &types.HttpNfcLeaseComplete{This: r.l.ref})
	if isGone(err, r.l.ref) {
		err = nil
	}
	if err == nil {
		err = r.m.look(ctx, "config")
	}
	if err != nil {
		return err
	}
	r.ended = true
	r.l.leave()
	return nil
}

// leave ends the beat, and forgets the lease.
func (l *lease) leave() {
	l.s.mu.Lock()
	open := l.s.leases[l.name][l]
	delete(l.s.leases[l.name], l)
	if len(l.s.leases[l.name]) == 0 {
		delete(l.s.leases, l.name)
	}
	l.s.mu.Unlock()
	if open {
		l.stop()
		<-l.done
	}
}

func (m *machine) reconfigure(ctx context.Context, spec types.VirtualMachineConfigSpec) error {
	res, err := methods.ReconfigVM_Task(ctx, m.c, &types.ReconfigVM_Task{This: m.ref, Spec: spec})
	if err == nil {
		_, err = m.s.wait(ctx, m.c, res.Returnval)
	}
	return err
}

func (m *machine) powerOn(ctx context.Context) error {
	res, err := methods.PowerOnVM_Task(ctx, m.c, &types.PowerOnVM_Task{This: m.ref})
	if err == nil {
		_, err = m.s.wait(ctx, m.c, res.Returnval)
	}
	if fault.Is(err, &types.InvalidPowerState{}) {
		return nil // it is on
	}
	return err
}

// nvram puts the kept NVRAM beside the machine's other files, and returns its name.
func (r *returning) nvram(ctx context.Context) (string, error) {
	b, ok := r.o.Kept[keyNVRAM]
	if !ok {
		return "", nil
	}
	p, err := datastorePath(r.m.mo.Config.Files.VmPathName)
	if err != nil {
		return "", r.m.fail("restore its NVRAM", err)
	}
	p.Path = strings.TrimSuffix(p.Path, path.Ext(p.Path)) + ".nvram"
	status, err := r.s.put(ctx, r.m.fileURL(p, r.at.places).String(), b, "")
	if err != nil {
		return "", r.m.fail("restore its NVRAM as "+p.String(), err)
	}
	switch {
	case status/100 == 2:
		return path.Base(p.Path), nil
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		r.warn("its NVRAM (firmware settings) is not restored: the account lacks the right Datastore.FileManagement")
		return "", nil
	}
	return "", r.m.fail("restore its NVRAM as "+p.String(), fmt.Errorf("the datastore's HTTP service answers %d", status))
}

// put writes a small file, or a range of one, by the HTTP service of datastores. A
// session that is gone is opened again, once.
func (s *session) put(ctx context.Context, url string, b []byte, span string) (status int, err error) {
	for again := false; ; again = true {
		if _, err := s.client(ctx); err != nil {
			return 0, err
		}
		s.mu.Lock()
		serial := s.serial
		s.mu.Unlock()
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(b))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		if span != "" {
			req.Header.Set("Content-Range", span)
		}
		res, err := s.web().Do(req)
		if err != nil {
			return 0, s.unreachable(err)
		}
		_, err = io.CopyN(io.Discard, res.Body, drainMax)
		res.Body.Close()
		if err != nil && err != io.EOF {
			return 0, s.unreachable(err)
		}
		if res.StatusCode != http.StatusUnauthorized || again {
			return res.StatusCode, nil
		}
		if err := s.renew(ctx, serial); err != nil {
			return 0, err
		}
	}
}

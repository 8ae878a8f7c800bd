package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
	"github.com/holdfast-backup/holdfast/services/holdfast/house"
)

// targets opens what --at leads to. Folders without a vault.json are left out: a
// cold read makes nothing.
func (v *cold) targets() ([]vault.Target, error) {
	if len(v.at) == 0 {
		return nil, usage(errors.New("vault needs --at"))
	}
	var found []conf.Target
	for _, at := range v.at {
		led, err := v.lead(at)
		if err != nil {
			return nil, err
		}
		found = append(found, led...)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no target in %s: a target is a folder with a vault.json, or a bucket", strings.Join(v.at, ", "))
	}
	return house.OpenTargets(found)
}

// lead is where one --at leads.
func (v *cold) lead(at string) (found []conf.Target, err error) {
	if strings.HasPrefix(at, "s3:") {
		t, err := conf.ParseTarget(at)
		if err != nil {
			return nil, usage(fmt.Errorf("--at: %w", err))
		}
		t.Name = t.Where()
		return []conf.Target{t}, nil
	}
	if st, err := os.Stat(at); err == nil && st.Mode().IsRegular() {
		return v.configured(at)
	}
	folders := []string{at}
	if !isTarget(at) {
		if folders, err = filepath.Glob(filepath.Join(at, "*")); err != nil {
			return nil, err
		}
	}
	for _, dir := range folders {
		if isTarget(dir) {
			found = append(found, conf.Target{Name: dir, Kind: "file", Path: dir})
		}
	}
	return found, nil
}

// configured is the targets that a file names and that may be there.
func (v *cold) configured(file string) (found []conf.Target, err error) {
	all, err := conf.LoadTargets(file)
	for _, t := range all {
		if t.Kind == "file" && !isTarget(t.Path) {
			v.app.say("target %s is left out: %s holds no vault.json", t.Name, t.Path)
			continue
		}
		found = append(found, t)
	}
	return found, err
}

func isTarget(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "vault.json"))
	return err == nil
}

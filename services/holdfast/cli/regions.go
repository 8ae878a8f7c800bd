package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/stage/client"
	"github.com/holdfast-backup/holdfast/topics"
)

// everywhere connects, and returns a client for each region that the configuration
// serves and the brokers have, the first at home; or for one alone, whichever it names.
// All end with the first.
func (a *app) everywhere(ctx context.Context, only string) (all []*client.Client, err error) {
	home, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	if only != "" {
		return []*client.Client{home.Of(only)}, nil
	}
	c, err := conf.Load(a.configPath())
	if err != nil || len(c.Regions) == 0 { // connect has told what is wrong with it
		return []*client.Client{home}, nil
	}
	there, err := home.Regions(ctx)
	if err != nil {
		home.Close()
		return nil, err
	}
	for _, name := range slices.DeleteFunc(c.Named(), func(r string) bool { return slices.Contains(there, r) }) {
		a.say("region %s has no topics yet; make them with: holdfast topics apply", name)
	}
	all = []*client.Client{home}
	for _, name := range there {
		if c.Serves(name) && name != home.Region() {
			all = append(all, home.Of(name))
		}
	}
	if !slices.Contains(there, home.Region()) && len(all) > 1 {
		return all[1:], nil
	}
	return all, nil
}

// own leaves out of a list the names that only other regions than one know, and says
// how many those are. A name that nobody knows stays: the service refuses it.
func (a *app) own(ctx context.Context, region string, names []string) (left []string, others map[string]int, err error) {
	found, err := a.found(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	regions := map[string]map[string]bool{} // of each word for a machine
	for _, m := range found {
		for _, word := range []string{m.Machine.GetName(), m.Machine.GetId(), m.Machine.GetSource() + "/" + m.Machine.GetId()} {
			if regions[word] == nil {
				regions[word] = map[string]bool{}
			}
			regions[word][m.region] = true
		}
	}
	others = map[string]int{}
	for _, name := range names {
		in := regions[name]
		if len(in) == 0 || in[region] {
			left = append(left, name)
			continue
		}
		others[slices.Min(slices.Collect(maps.Keys(in)))]++
	}
	if n := len(names) - len(left); n > 0 {
		a.say("%d of %d machines are of other regions, and left out: %s", n, len(names), counted(others))
	}
	if len(left) == 0 && len(names) > 0 {
		return nil, others, refused(fmt.Errorf("none of the %d machines is of region %s", len(names), region))
	}
	return left, others, nil
}

// ofRegion is where a topic's record lies, as people name it: with its region, where
// there are several.
func ofRegion(region string, at topics.Position) string {
	if region == "" {
		return at.String()
	}
	return region + "." + at.String()
}

// regionOf cuts the region off the name of a topic that may begin with one.
func regionOf(physical, topic string) string {
	return strings.TrimSuffix(strings.TrimSuffix(physical, topic), ".")
}

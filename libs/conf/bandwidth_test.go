package conf

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/libs/rate"
)

// What is written for a source and for a target is what holds there.
func TestBandwidth(t *testing.T) {
	text := strings.Replace(good, "every: 1d}", `every: 1d, limits: {latency: {hold: 20ms, slow: 30ms}}, bandwidth: {rate: 200MiB/s, windows: [{days: mon-fri, from: "08:00", to: "18:00", zone: Europe/Berlin, rate: 20MiB/s}]}}`, 1)
	text = strings.Replace(text, "path: vault/b}", "path: vault/b, bandwidth: {rate: 100Mbit/s}}", 1)
	c, err := Load(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i, want := range []rate.Rate{20 << 20, 0, 100e6 / 8} {
		all := []*Bandwidth{&c.Sources[0].Bandwidth, &c.Vault.Targets[0].Bandwidth, &c.Vault.Targets[1].Bandwidth}
		if got, _ := all[i].Plan().At(noon); got != want {
			t.Errorf("%d: %v at noon", i, got)
		}
	}
	if l := c.Sources[0].Limits.Latency; l.Hold != Duration(20*time.Millisecond) || l.Slow != Duration(30*time.Millisecond) {
		t.Errorf("latency is %+v", l)
	}
}

func TestBandwidthThatSaysNothing(t *testing.T) {
	const at = "every: 1d}"
	for _, c := range []struct{ new, want string }{
		{"bandwidth: {rate: 20MB/s}", `:12: sources[0].bandwidth.rate: "20MB/s" is not a rate`},
		{"bandwidth: {rate: 1KiB/s}", `:12: sources[0].bandwidth.rate: "1KiB/s" is below the least`},
		{"bandwidth: {speed: 1}", `:12: unknown field "speed"`},
		{"bandwidth: {windows: [{from: '08:00', to: '18:00', zone: UTC}]}", ":12: sources[0].bandwidth.windows[0].rate: is missing"},
		{"bandwidth: {windows: [{from: '8', to: '18:00', zone: UTC, rate: none}]}", `:12: sources[0].bandwidth.windows[0].from: "8" is no time`},
		{"bandwidth: {windows: [{days: mo, from: '08:00', to: '18:00', zone: UTC, rate: none}]}", `:12: sources[0].bandwidth.windows[0].days: "mo" is no day`},
		{"bandwidth: {windows: [{from: '08:00', to: '18:00', rate: none}]}", ":12: sources[0].bandwidth.windows[0].zone: is missing"},
		{"limits: {latency: {hold: 40ms, slow: 30ms}}", ":12: sources[0].limits.latency.hold: 40ms is above slow, 30ms"},
		{"limits: {latency: {hold: 1us}}", ":12: sources[0].limits.latency.hold: 1µs is below a millisecond"},
		{"limits: {latency: {slow: 1us}}", ":12: sources[0].limits.latency.slow: 1µs is below a millisecond"},
	} {
		_, err := Load(write(t, strings.Replace(good, at, "every: 1d, "+c.new+"}", 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	_, err := Load(write(t, strings.Replace(good, "path: vault/b}", "path: vault/b, bandwidth: {windows: [{from: '08:00', to: '08:00', zone: UTC, rate: none}]}}", 1)))
	if err == nil || !strings.Contains(err.Error(), "vault.targets[1].bandwidth.windows[0].to: ") {
		t.Error(err)
	}
}

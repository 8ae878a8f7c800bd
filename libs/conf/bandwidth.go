package conf

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml/ast"

	"github.com/holdfast-backup/holdfast/libs/rate"
)

// Bandwidth bounds the bytes a second that are read of a source, or put on a target,
// by all processes together.
type Bandwidth struct {
	// Rate outside of all windows: 200MiB/s, 100Mbit/s or none, the default.
	Rate Rate `yaml:"rate"`
	// Windows are times of the week with a rate of their own. Of several that hold,
	// the first counts.
	Windows []BandwidthWindow `yaml:"windows"`
}

// BandwidthWindow is one of them.
type BandwidthWindow struct {
	// Days on which it begins: mon-fri, or sat,sun. Default: every day.
	Days string `yaml:"days"`
	// From and To are times of day, 08:00. To is not in it; where it is before From,
	// it is on the next day. A day ends at 24:00.
	From string `yaml:"from"`
	To   string `yaml:"to"`
	// Zone whose clock is meant: Europe/Berlin, or UTC.
	Zone string `yaml:"zone"`
	// Rate within; none: no limit.
	Rate *Rate `yaml:"rate"`
}

// Rate is bytes a second; 0: no limit.
type Rate rate.Rate

// UnmarshalYAML reads a rate from a scalar.
func (r *Rate) UnmarshalYAML(n ast.Node) error {
	v, err := rate.Parse(n.GetToken().Value)
	*r = Rate(v)
	return at(n, err)
}

// MarshalYAML writes what UnmarshalYAML reads.
func (r Rate) MarshalYAML() ([]byte, error) { return []byte(rate.Rate(r).String()), nil }

// Plan is what a limiter takes. It was checked when the file was read.
func (b *Bandwidth) Plan() (p rate.Plan) {
	p.Rate = rate.Rate(b.Rate)
	for i := range b.Windows {
		if w, err := b.Windows[i].window(); err == nil {
			p.Windows = append(p.Windows, w)
		}
	}
	return p
}

func (w *BandwidthWindow) window() (rate.Window, error) {
	if w.Rate == nil {
		return rate.Window{}, &rate.Wrong{Key: "rate", Err: errors.New("is missing: a window without one changes nothing; none is no limit")}
	}
	return rate.NewWindow(rate.Times{Days: w.Days, From: w.From, To: w.To, Zone: w.Zone}, rate.Rate(*w.Rate))
}

func (b *Bandwidth) check(at string, say sayer) {
	for i := range b.Windows {
		_, err := b.Windows[i].window()
		if wrong, ok := errors.AsType[*rate.Wrong](err); ok {
			say(fmt.Sprintf("%s.windows[%d].%s", at, i, wrong.Key), "%v", wrong.Err)
		}
	}
}

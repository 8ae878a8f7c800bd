package conf

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// Size is a number of bytes, written 4096, 64KiB, 512MiB, 2GiB or 3TiB.
type Size int64

var units = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// ParseSize reads a size. Decimal units (MB) are refused rather than guessed.
func ParseSize(s string) (Size, error) {
	digits, scale := strings.TrimSpace(s), int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(digits, u.name); ok {
			digits, scale = strings.TrimSpace(n), u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/scale {
		return 0, fmt.Errorf("%q is not a size: write bytes, or a number with KiB, MiB, GiB or TiB", s)
	}
	return Size(n * scale), nil
}

// UnmarshalYAML reads a size from a scalar.
func (s *Size) UnmarshalYAML(n ast.Node) (err error) {
	*s, err = ParseSize(n.GetToken().Value)
	return at(n, err)
}

func (s Size) String() string {
	for _, u := range units {
		if s != 0 && int64(s)%u.size == 0 {
			return fmt.Sprint(int64(s)/u.size, u.name)
		}
	}
	return "0B"
}

// MarshalYAML writes the shortest exact form.
func (s Size) MarshalYAML() ([]byte, error) { return []byte(s.String()), nil }

// Duration is a time.Duration that also takes days: 90s, 15m, 4h, 7d.
type Duration time.Duration

// ParseDuration reads a duration. Negative ones are refused.
func ParseDuration(s string) (Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseFloat(n, 64); err == nil && days >= 0 && days < 1e5 {
			return Duration(days * 24 * float64(time.Hour)), nil
		}
	} else if v, err := time.ParseDuration(s); err == nil && v >= 0 {
		return Duration(v), nil
	}
	return 0, fmt.Errorf("%q is not a duration: write 90s, 15m, 4h or 7d", s)
}

// UnmarshalYAML reads a duration from a scalar.
func (d *Duration) UnmarshalYAML(n ast.Node) (err error) {
	*d, err = ParseDuration(n.GetToken().Value)
	return at(n, err)
}

// MarshalYAML writes what UnmarshalYAML reads.
func (d Duration) MarshalYAML() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

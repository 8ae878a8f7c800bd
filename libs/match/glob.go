// Package match says which machines a selector means: that of a request, resolved
// when it is run, and that of a person who wants to see first what it would be.
package match

import (
	"fmt"
	"regexp"
	"strings"
)

// Max bounds a pattern: machine names end at 80 letters in vCenter.
const Max = 256

// Glob compiles a pattern over names: * for any characters, ? for one, [a-z]
// and [!a-z] for one of a set, \ before a character that means itself. A slash
// is a character as any other, for names may hold one; case counts.
func Glob(pattern string) (*regexp.Regexp, error) { return compile(pattern, `\z`) }

func compile(pattern, tail string) (*regexp.Regexp, error) {
	if len(pattern) > Max {
		return nil, fmt.Errorf("pattern of %d bytes: at most %d", len(pattern), Max)
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for rest := pattern; rest != ""; {
		r := []rune(rest)[0]
		c := string(r)
		rest = rest[len(c):]
		switch r {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteString(`.`)
		case '[':
			set, after, ok := strings.Cut(rest, "]")
			not := strings.HasPrefix(set, "!") || strings.HasPrefix(set, "^")
			if set = strings.TrimLeft(set[:min(1, len(set))], "!^") + set[min(1, len(set)):]; !ok || set == "" {
				return nil, fmt.Errorf("pattern %q: a set that does not end, or is empty", pattern)
			}
			b.WriteString(`[`)
			if not {
				b.WriteString(`^`)
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `^`, `\^`).Replace(set) + `]`)
			rest = after
		case '\\':
			if rest == "" {
				return nil, fmt.Errorf(`pattern %q ends in \`, pattern)
			}
			c = string([]rune(rest)[0])
			rest = rest[len(c):]
			fallthrough
		default:
			b.WriteString(regexp.QuoteMeta(c))
		}
	}
	re, err := regexp.Compile(b.String() + tail)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return re, nil
}

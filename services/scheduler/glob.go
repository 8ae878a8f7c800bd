package scheduler

import (
	"fmt"
	"regexp"
	"strings"
)

// globMax bounds a pattern: machine names end at 80 letters in vCenter.
const globMax = 256

// glob compiles a pattern over names: * for any characters, ? for one, [a-z]
// and [!a-z] for one of a set, \ before a character that means itself. A slash
// is a character as any other, for names may hold one; case counts.
func glob(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > globMax {
		return nil, fmt.Errorf("pattern of %d bytes: at most %d", len(pattern), globMax)
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
	re, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return re, nil
}

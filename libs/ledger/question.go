package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Question is one that people ask: a view of the ledger with parameters, which
// curl and clickhouse-client can ask as well.
type Question struct {
	Name string
	Text string // as a person asks it
	Args []Arg
	from string // the view's name; each argument is a parameter of it
}

// Arg of a question.
type Arg struct {
	Name    string
	Default string // empty: it must be given
	Help    string
	literal func(string) (string, error) // in SQL
}

// ErrUsage means that a question was asked wrongly: no such name, or a bad argument.
var ErrUsage = errors.New("bad question")

// rowsMax bounds a limit or a number of hours: more is a typing error.
const rowsMax = 1_000_000

// Questions are all of them.
var Questions = []Question{
	{"machine", "Where are the backups of a machine, and what do they wait for?", []Arg{{"machine", "", "name or instance id", wordArg}, {"limit", "3", "backups at most", countArg}}, "machine_backups"},
	{"where", "Where is a backup?", []Arg{{"backup", "", "id of the backup", idArg}}, "where_is"},
	{"waiting", "What do backups under way wait for?", nil, "waiting"},
	{"no-good-backup", "Which machines have no good backup of the last hours?", []Arg{{"hours", "24", "age of the snapshot", countArg}}, "no_good_backup"},
	{"failures", "What failed in the last hours, and why, by reason?", []Arg{{"hours", "24", "how far to look back", countArg}}, "failures"},
	{"slowest", "Which backups take longest?", []Arg{{"hours", "24", "how far to look back", countArg}, {"limit", "20", "backups at most", countArg}}, "slowest"},
	{"throughput", "How much does each source give?", []Arg{{"minutes", "15", "how far to look back", countArg}}, "throughput"},
	{"bottleneck", "Which stage do records wait for?", []Arg{{"minutes", "15", "how far to look back", countArg}}, "bottleneck"},
	{"chunk-users", "Which files use a chunk?", []Arg{{"chunk", "", "64 hexadecimal digits", chunkArg}, {"limit", "100", "files at most", countArg}}, "chunk_users"},
	{"pack-users", "Which files use a pack, so are hurt where it is lost?", []Arg{{"pack", "", "id of the pack, or its name in the vault", packArg}, {"limit", "100", "files at most", countArg}}, "pack_users"},
	{"outcomes", "What became of each file of a backup?", []Arg{{"backup", "", "id of the backup", idArg}}, "outcomes"},
	{"gaps", "What was lost before it was written here?", []Arg{{"days", "7", "how far to look back", countArg}}, "gaps"},
	{"retries", "What is being retried, or stands still, and why?", []Arg{{"minutes", "5", "age of the last word on it", countArg}}, "retries"},
	{"refusals", "What was refused in the last hours, and why?", []Arg{{"hours", "24", "how far to look back", countArg}}, "refusals"},
	{"tables", "How much is here, what does it take, and how old is the youngest row?", nil, "tables"},
}

// SQL is the statement that answers q.
func (q Question) SQL(args ...string) (string, error) {
	if q.from == "" {
		var names []string
		for _, q := range Questions {
			names = append(names, q.Name)
		}
		return "", fmt.Errorf("%w: none is called %q; there are %s", ErrUsage, q.Name, strings.Join(names, ", "))
	}
	if len(args) > len(q.Args) {
		return "", fmt.Errorf("%w: %s takes %d arguments, not %d", ErrUsage, q.Name, len(q.Args), len(args))
	}
	var params []string
	for i, a := range q.Args {
		given := a.Default
		if i < len(args) {
			given = args[i]
		}
		text, err := a.literal(given)
		if err != nil {
			return "", fmt.Errorf("%w: %s of %s: %w", ErrUsage, a.Name, q.Name, err)
		}
		params = append(params, a.Name+" = "+text)
	}
	if len(params) == 0 { // a plain view takes no parentheses
		return "SELECT * FROM ledger." + q.from, nil
	}
	return fmt.Sprintf("SELECT * FROM ledger.%s(%s)", q.from, strings.Join(params, ", ")), nil
}

// Ask answers a question by name. What is left out at the end has its default.
func (l *Ledger) Ask(ctx context.Context, name string, args ...string) (Answer, error) {
	sql, err := question(name).SQL(args...)
	if err != nil {
		return Answer{}, err
	}
	return l.Query(ctx, sql)
}

// question by name; an unknown one has no view.
func question(name string) Question {
	for _, q := range Questions {
		if q.Name == name {
			return q
		}
	}
	return Question{Name: name}
}

func idArg(s string) (string, error) {
	u, err := schemas.ParseUUID(s)
	return "'" + u.String() + "'", err
}

// wordArg is any text that a person may type.
func wordArg(s string) (string, error) {
	if s == "" {
		return "", errors.New("it is empty")
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'", nil
}

// packName is a pack's name in the vault: its birth, and its id without dashes.
var packName = regexp.MustCompile(`^e\d+-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$`)

func packArg(s string) (string, error) {
	if m := packName.FindStringSubmatch(s); m != nil {
		s = strings.Join(m[1:], "-")
	}
	return idArg(s)
}

func countArg(s string) (string, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || n > rowsMax {
		return "", fmt.Errorf("%q is no number from 1 to %d", s, rowsMax)
	}
	return strconv.FormatUint(n, 10), nil
}

func chunkArg(s string) (string, error) {
	if b, err := hex.DecodeString(s); err != nil || len(b) != 32 {
		return "", fmt.Errorf("%q is no chunk's name: want 64 hexadecimal digits", s)
	}
	return "'" + strings.ToLower(s) + "'", nil
}

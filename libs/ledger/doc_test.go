package ledger_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/libs/ledger"
	"github.com/holdfast-backup/holdfast/ops/standalone/clickhouse/clickhousetest"
)

// The page is a public contract: it names every table, view and column that
// there is, and what it tells people to ask can be asked.
func TestPageNamesAllThatIsThere(t *testing.T) {
	text, err := os.ReadFile("../../ops/docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	s := clickhousetest.Start(t, clickhousetest.Options(t))
	if err := open(t, s, clickhousetest.Writer, ledger.Keep{}).Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := open(t, s, clickhousetest.Reader, ledger.Keep{})
	a, err := l.Query(t.Context(), `SELECT DISTINCT table, name FROM system.columns WHERE database = 'ledger' AND table NOT LIKE '%_feed'
		UNION DISTINCT SELECT name, name FROM system.tables WHERE database = 'ledger'`)
	if err != nil || len(a.Rows) < 50 {
		t.Fatal(a.Rows, err)
	}
	for _, row := range a.Rows {
		name := row[1].(string)
		if !regexp.MustCompile("`" + name + "[`(]").Match(text) {
			t.Errorf("the page does not name %s of %s", name, row[0])
		}
	}
	asked := 0
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllSubmatch(text, -1) {
		if _, err := l.Query(t.Context(), string(m[1])); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		asked++
	}
	for _, m := range regexp.MustCompile(`-d '(SELECT.*?) FORMAT`).FindAllSubmatch(text, -1) {
		if _, err := l.Query(t.Context(), string(m[1])); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		asked++
	}
	if asked < 8 {
		t.Errorf("only %d questions were found in the page", asked)
	}
	shown := examples(t, l, string(text))
	for _, q := range ledger.Questions {
		if !strings.Contains(string(text), "| `"+q.Name) || !shown[q.Name] {
			t.Errorf("the page does not have the question %s, or no example of it", q.Name)
		}
	}
}

// examples asks what the page shows on a terminal, and wants the columns that it shows.
func examples(t *testing.T, l *ledger.Ledger, text string) map[string]bool {
	t.Helper()
	shown := map[string]bool{}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		ask, ok := strings.CutPrefix(line, "$ holdfast ledger ")
		if !ok {
			continue
		}
		words := strings.Fields(ask)
		shown[words[0]] = true
		a, err := l.Ask(t.Context(), words[0], words[1:]...)
		if err != nil {
			t.Errorf("%s: %v", ask, err)
		}
		if header := strings.Fields(lines[i+1]); header[0] != "$" && !slices.Equal(header, a.Columns) {
			t.Errorf("%s answers with the columns %q, the page shows %q", ask, a.Columns, header)
		}
	}
	return shown
}

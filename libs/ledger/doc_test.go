package ledger_test

import (
	"os"
	"regexp"
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
	for _, q := range ledger.Questions {
		if !strings.Contains(string(text), "| `"+q.Name) {
			t.Errorf("the page does not have the question %s", q.Name)
		}
	}
}

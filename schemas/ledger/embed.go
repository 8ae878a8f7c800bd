// Package ledger holds the ledger's tables and views as numbered migrations.
//
// Their names and columns are a public contract: ops/docs/ledger.md describes
// them, and people's queries and dashboards rest on them. So a file that was
// shipped is never edited; what changes is a new file, and columns are only added.
package ledger

import "embed"

// Files are the migrations, in the order of their names.
//
//go:embed *.sql
var Files embed.FS

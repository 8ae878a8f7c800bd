package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// walked are the stages that every byte goes through, in order.
var walked = []string{"exporter", "chunker", "deduper", "compressor-encryptor", "uploader", "auditor"}

// referencesOnly is a rate, in MB/s, that nobody reaches who touches the bytes: a
// core copies 10 GB/s.
const referencesOnly = 10_000

// load is what the ledger knows of one stage. Its numbers come as JSON numbers or,
// of 64 bits, as text.
type load struct {
	Stage   string      `json:"stage"`
	Records json.Number `json:"records"`
	Bytes   json.Number `json:"bytes"`
	Busy    json.Number `json:"busy_s"`
	Rate    json.Number `json:"mb_per_s"`
}

// loads shows where the time went, once the ledger has heard of every stage.
func (w *walk) loads(ctx context.Context) error {
	for range 100 {
		out, err := w.Run(ctx, "ledger", "bottleneck", "15", "-o", "json")
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		var got struct {
			Rows []load `json:"rows"`
		}
		if err := json.Unmarshal(out, &got); err != nil {
			return fmt.Errorf("ledger: what the stages did: %w", err)
		}
		if lines := busy(got.Rows); lines != nil {
			w.did("ClickHouse knows what each stage did in the last 15 minutes:")
			for _, line := range lines {
				w.say("       %s", line)
			}
			return nil
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the ledger does not know how long each of %v was busy", walked)
}

// busy is a line a stage, or nil while one is not heard of.
func busy(rows []load) (lines []string) {
	for _, name := range walked {
		i := slices.IndexFunc(rows, func(l load) bool { return l.Stage == name })
		if i < 0 {
			return nil
		}
		l := rows[i]
		seconds, rate := number(l.Busy), number(l.Rate)
		if seconds <= 0 || rate <= 0 {
			return nil
		}
		speed := fmt.Sprintf("%8.1f MB/s while busy", rate)
		if rate > referencesOnly {
			speed = "references only, no bytes"
		}
		lines = append(lines, fmt.Sprintf("%-22s %5s records, busy for %7s, %s", name, l.Records, span(seconds), speed))
	}
	return lines
}

// span is a time in the unit that a person would choose.
func span(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", max(1, seconds*1000))
	}
	return fmt.Sprintf("%.1f s", seconds)
}

func number(n json.Number) float64 {
	f, err := strconv.ParseFloat(strings.Trim(n.String(), `"`), 64)
	if err != nil {
		return 0
	}
	return f
}

package stage

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

var w3c propagation.TraceContext

// one is a carrier of the one header that we need.
type one struct{ value []byte }

func (c *one) Get(key string) string {
	if key == traceHeader {
		return string(c.value)
	}
	return ""
}
func (c *one) Set(key, value string) {
	if key == traceHeader {
		c.value = []byte(value)
	}
}
func (c *one) Keys() []string { return []string{traceHeader} }

// traced continues the trace of a record, if it has one.
func traced(ctx context.Context, parent []byte) context.Context {
	if len(parent) == 0 {
		return ctx
	}
	return w3c.Extract(ctx, &one{parent})
}

// traceEnd is where the id of the trace ends in a trace context.
const traceEnd = len("00-") + 32

func sameTrace(a, b string) bool {
	return len(a) >= traceEnd && len(b) >= traceEnd && a[:traceEnd] == b[:traceEnd]
}

// Trace is the W3C trace context that the consequences of this input belong to: for
// rows, whose consequences come when no record is handled. Empty: it is of no trace.
func (in *In) Trace() string { return string(in.origin().trace) }

// traceOf returns what to write: the span of ctx, or the parent's own words
// where nobody has made a span of it.
func traceOf(ctx context.Context, parent []byte) []byte {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() || span.IsRemote() {
		return parent
	}
	var c one
	w3c.Inject(ctx, &c)
	return c.value
}

package watch

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Tracer sends spans to an OTLP/HTTP endpoint (a URL), the given share of all
// new traces; a trace that came with a record keeps its own decision. An empty
// endpoint is no tracer: trace context still rides along, spans are not made.
// stop sends what is left.
func Tracer(ctx context.Context, endpoint string, share float64, worker string) (t trace.Tracer, stop func(context.Context) error, err error) {
	if endpoint == "" {
		return noop.NewTracerProvider().Tracer(""), func(context.Context) error { return nil }, nil
	}
	out, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, nil, fmt.Errorf("traces to %s: %w", endpoint, err)
	}
	p := sdk.NewTracerProvider(sdk.WithBatcher(out), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(share))),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "holdfast"), attribute.String("service.instance.id", worker))))
	return p.Tracer("holdfast"), p.Shutdown, nil
}

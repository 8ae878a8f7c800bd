package cli

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-backup/holdfast/schemas"
	"github.com/holdfast-backup/holdfast/topics"
)

func (a *app) refusedShowCommand(region *string) *cobra.Command {
	return &cobra.Command{
		Use:     "show TOPIC/PARTITION/OFFSET",
		Short:   "One of them whole: the message as JSON, or hexadecimal where it does not decode",
		Example: "  holdfast refused show chunks.cut/2/1741",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			at, s, in, err := positionOf(args[0])
			if err != nil {
				return err
			}
			cl, err := a.connectTo(c.Context(), cmp.Or(*region, in))
			if err != nil {
				return err
			}
			defer cl.Close()
			rs, err := foldRefused(c.Context(), cl, []topics.Spec{s})
			if err != nil {
				return err
			}
			r, err := rs.find(at)
			if err != nil {
				return err
			}
			return a.showRefused(r)
		},
	}
}

// showRefused prints JSON in either format: it is a message, not a row.
func (a *app) showRefused(r *refusal) error {
	v := map[string]any{"id": r.At.String(), "topic": r.At.Topic, "partition": r.At.Part, "offset": r.At.Offset, "state": r.state(),
		"refusals": orNone(r.Said), "marks": orNone(r.Marks), "headers": readable(r.Headers), "key": text([]byte(r.Key)), "bytes": len(r.Value)}
	if r.Cut > 0 {
		v["bytes"], v["kept"] = r.Cut, len(r.Value)
	}
	body, err := decoded(r)
	if err != nil {
		v["undecoded"] = err.Error()
	}
	for k, x := range body {
		v[k] = x
	}
	return a.printJSON(a.out, v)
}

// decoded is what the value says: a message, an event, text or bytes.
func decoded(r *refusal) (map[string]any, error) {
	m, typed, err := topics.Message(r.Spec, r.Value)
	switch {
	case typed && err != nil:
		return map[string]any{"hex": hex.EncodeToString(r.Value)}, err
	case typed:
		b, err := protojson.Marshal(m)
		if err != nil {
			return map[string]any{"hex": hex.EncodeToString(r.Value)}, err
		}
		return map[string]any{"message": json.RawMessage(b)}, nil
	}
	e, err := schemas.DecodeEvent(r.Headers, r.Value)
	if err == nil && json.Valid(e.Data) {
		return map[string]any{"event": map[string]any{"id": e.ID, "source": e.Source, "type": e.Type, "time": e.Time, "data": json.RawMessage(e.Data)}}, nil
	}
	if utf8.Valid(r.Value) {
		return map[string]any{"text": string(r.Value)}, err
	}
	return map[string]any{"hex": hex.EncodeToString(r.Value)}, err
}

// text is b as it reads, or its hexadecimal digits.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return hex.EncodeToString(b)
}

func readable(headers map[string]string) map[string]string {
	out := make(map[string]string, len(headers))
	for k, v := range headers {
		out[k] = text([]byte(v))
	}
	return out
}

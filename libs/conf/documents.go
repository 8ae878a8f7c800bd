package conf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"
)

// Documents returns the documents of a YAML file, of which each is an object, as JSON.
// They are of people, who write events so; what they may say is for the event's reader.
func Documents(b []byte) (all []json.RawMessage, err error) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	for n := 1; ; n++ {
		var doc map[string]any
		err := d.Decode(&doc)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("document %d: %s", n, yaml.FormatError(err, false, true))
		case len(doc) == 0: // such as one of comments
			continue
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		all = append(all, raw)
	}
}

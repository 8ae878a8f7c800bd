package vmdk

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

const benched = 16 << 20

func BenchmarkEncode(b *testing.B) {
	for _, kind := range []string{"noise", "text", "zero"} {
		disk := contents[kind](benched)
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(benched)
			for b.Loop() {
				w, err := NewWriter(io.Discard, Options{Size: benched})
				for at := 0; err == nil && at < benched; at += GrainSize {
					err = w.WriteGrain(int64(at), disk[at:at+GrainSize])
				}
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, kind := range []string{"noise", "text"} {
		in := encode(b, contents[kind](benched))
		b.Run(kind, func(b *testing.B) {
			b.SetBytes(benched)
			for b.Loop() {
				r, err := NewReader(bytes.NewReader(in))
				for err == nil {
					_, _, err = r.Next()
				}
				if !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
			}
		})
	}
}

package stage

import (
	"context"
	"crypto/tls"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Reach is how brokers are reached.
type Reach []kgo.Opt

// Door is how to get in where brokers ask who is there. Its zero value is an open one.
type Door struct {
	TLS *tls.Config // nil: plain
	// User logs in by SCRAM-SHA-512; empty: nobody does.
	User string
	// Password is asked at each connection, so that a rotation needs no restart.
	Password func() (string, error)
}

// Connect reaches brokers whose door is open.
func Connect(brokers ...string) Reach { return Door{}.Connect(brokers...) }

// Connect says how to reach brokers behind the door. Batches are not compressed,
// because on one machine, or in one rack, that costs more than it saves. (No codec
// is named for that: clients that are made at once would share a list of codecs,
// which each of them writes to.)
func (d Door) Connect(brokers ...string) Reach {
	r := Reach{kgo.SeedBrokers(brokers...), kgo.DisableClientMetrics(),
		kgo.ProducerBatchCompression()}
	if d.TLS != nil {
		r = append(r, kgo.DialTLSConfig(d.TLS))
	}
	if d.User != "" {
		r = append(r, kgo.SASL(scram.Sha512(func(context.Context) (scram.Auth, error) {
			pass, err := d.Password()
			return scram.Auth{User: d.User, Pass: pass}, err
		})))
	}
	return r
}

// Compressed has batches compressed on their way, for brokers behind a network
// that is dearer than CPU: append it to what Connect returns.
func Compressed() kgo.Opt {
	c, err := kgo.DefaultCompressor(kgo.Lz4Compression(), kgo.NoCompression())
	if err != nil {
		panic(fmt.Sprintf("stage: %v", err)) // of a codec that is none
	}
	return kgo.WithCompressor(c)
}

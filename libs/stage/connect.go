package stage

import "github.com/twmb/franz-go/pkg/kgo"

// Connect says how to reach the brokers. Batches are not compressed, because on
// one machine, or in one rack, that costs more than it saves.
func Connect(brokers ...string) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.DisableClientMetrics(),
		kgo.ProducerBatchCompression(kgo.NoCompression())}
}

// Compressed has batches compressed on their way, for brokers behind a network
// that is dearer than CPU: append it to what Connect returns.
func Compressed() kgo.Opt {
	return kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression())
}

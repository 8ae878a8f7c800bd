package s3

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	dialMax = 10 * time.Second
	// headMax is how long a server may think about a body that it has. The vault
	// gives up on a put after 30 s; this is for who has no deadline.
	headMax = time.Minute
	// expectMax is what a server that never says "continue" costs a put.
	expectMax = time.Second
	// Each connection has two buffers: few system calls for a shard of 4 MiB.
	writeBuffer, readBuffer = 256 << 10, 64 << 10
)

// transport keeps as many connections as calls may be under way: the SDK's own
// keeps 10, and makes the others anew for each call.
func transport(connections int, caFile string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialMax, KeepAlive: 30 * time.Second}).DialContext,

		MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: dialMax, ResponseHeaderTimeout: headMax, ExpectContinueTimeout: expectMax,
		WriteBufferSize: writeBuffer, ReadBufferSize: readBuffer,
		DisableCompression: true, // a body is what was put
		TLSClientConfig:    &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", caFile)
	}
	return t, nil
}

// skew compares the clocks: each answer has its server's.
type skew struct {
	next http.RoundTripper

	mu    sync.Mutex
	known bool
	by    time.Duration // ours is ahead
}

func (s *skew) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		s.mu.Lock()
		s.known, s.by = true, time.Since(at.Add(time.Second/2)) // which has whole seconds
		s.mu.Unlock()
	}
	return resp, nil
}

func (s *skew) ahead() (by time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by, s.known
}

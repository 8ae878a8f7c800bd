package s3

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// keysFor is how long keys that were read are used.
const keysFor = time.Minute

// keys reads a key pair from two files. While they can't be read, as in the midst
// of a rotation, the last pair goes on.
type keys struct {
	access, secret string

	mu   sync.Mutex
	last aws.Credentials
}

// Retrieve is for the SDK.
func (k *keys) Retrieve(context.Context) (aws.Credentials, error) { return k.read() }

func (k *keys) read() (aws.Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	access, err := word(k.access)
	if err == nil {
		var secret string
		if secret, err = word(k.secret); err == nil {
			k.last = aws.Credentials{AccessKeyID: access, SecretAccessKey: secret, Source: "files", CanExpire: true}
		}
	}
	if err != nil && !k.last.HasKeys() {
		return aws.Credentials{}, err
	}
	k.last.Expires = time.Now().Add(keysFor)
	return k.last, nil
}

func word(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	w := strings.TrimSpace(string(b))
	if w == "" || strings.ContainsAny(w, " \t\r\n") {
		return "", fmt.Errorf("key: %s: want one word, and nothing else", path)
	}
	return w, nil
}

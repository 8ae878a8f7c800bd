package vault

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The paper form is the wrapped ring in lines that a person can type: a number,
// 8 groups of 4 characters, and a group that checks the line, so that an error is
// known by its line. The letters are Crockford's: no I, L, O, U; case is nothing.
const (
	paperTitle = "holdfast keys on paper v1"
	paperLine  = 20 // bytes: 32 characters
)

var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// Paper prints a wrapped ring. Whoever finds the paper still needs the passphrase.
func Paper(o KeyObject) (string, error) {
	w, err := ParseWrapped(o.Body)
	if err != nil {
		return "", fmt.Errorf("keys on paper: %w", err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nvault key %s\n", paperTitle, w.Vault)
	no := 0
	for line := range slices.Chunk(o.Body, paperLine) {
		no++
		fmt.Fprintf(&b, "%2d: %s  %s\n", no, groups(crockford.EncodeToString(line)), lineCheck(no, line))
	}
	return b.String(), nil
}

func groups(s string) string {
	var out []string
	for g := range slices.Chunk([]byte(s), 4) {
		out = append(out, string(g))
	}
	return strings.Join(out, " ")
}

// lineCheck is 20 bits over a line and its number: a slip passes once in a million.
func lineCheck(no int, line []byte) string {
	sum := sha256.Sum256(append([]byte{byte(no)}, line...))
	return crockford.EncodeToString(sum[:3])[:4]
}

// ParsePaper is the inverse of Paper. It names every line that does not check; what
// is not a numbered line is passed over.
func ParsePaper(text string) (KeyObject, error) {
	var body []byte
	var wrong []error
	no := 0
	for raw := range strings.Lines(text) {
		head, rest, ok := strings.Cut(raw, ":")
		n, err := strconv.Atoi(strings.TrimSpace(head))
		if !ok || err != nil {
			continue
		}
		if no++; n != no {
			return KeyObject{}, fmt.Errorf("keys on paper: %w: line %d where %d is due", ErrTorn, n, no)
		}
		if no > wrapBytes/paperLine+1 {
			return KeyObject{}, fmt.Errorf("keys on paper: %w: more than %d lines", ErrTorn, no-1)
		}
		line, err := paperBytes(no, rest)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", no, err))
		}
		body = append(body, line...)
	}
	if len(wrong) > 0 {
		return KeyObject{}, fmt.Errorf("keys on paper: %w: %w", ErrTorn, errors.Join(wrong...))
	}
	if _, err := ParseWrapped(body); err != nil {
		return KeyObject{}, fmt.Errorf("keys on paper: %w", err)
	}
	return KeyObject{fmt.Sprintf("%x", check(body)), body}, nil
}

// typed maps what people write for what was printed.
var typed = strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "", "-", "", "O", "0", "I", "1", "L", "1")

func paperBytes(no int, s string) ([]byte, error) {
	s = typed.Replace(strings.ToUpper(s))
	if len(s) < 5 {
		return nil, errors.New("too short")
	}
	line, err := crockford.DecodeString(s[:len(s)-4])
	if err != nil {
		return nil, err
	}
	if lineCheck(no, line) != s[len(s)-4:] {
		return nil, errors.New("the last group does not check the others")
	}
	return line, nil
}

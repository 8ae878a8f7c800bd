// Package tidy is the house's own rules, as a test. Each rule says why, so that
// whoever breaks one learns the reason and not only the number.
package tidy

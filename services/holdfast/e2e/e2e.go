// Package e2e holds the tests of the whole house: one machine with broker,
// ledger, vault and every stage, asked from outside as its users ask.
package e2e

//go:build synctests

package stagetest

const tagged = true

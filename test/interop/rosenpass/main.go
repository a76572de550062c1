//go:build tools

// Package rosenpass names the Go program of Rosenpass, so that go.sum has the digests of all that it is built from.
package rosenpass

import _ "cunicu.li/go-rosenpass/cmd"

package main

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// listenUnix listens on a socket of mode 0600. It takes over a socket that a killed program has left, and none that answers.
func listenUnix(path string) (*net.UnixListener, error) {
	umask := unix.Umask(0o077)
	defer unix.Umask(umask)
	address := &net.UnixAddr{Net: "unix", Name: path}
	listener, err := net.ListenUnix("unix", address)
	if err == nil || !errors.Is(err, unix.EADDRINUSE) {
		return listener, err
	}
	if other, err := net.DialTimeout("unix", path, time.Second); err == nil {
		other.Close()
		return nil, errors.New("unix socket in use: " + path)
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.ListenUnix("unix", address)
}

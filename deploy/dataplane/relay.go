package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"kelmesh/dataplane/relay"
)

const requestTimeout = 10 * time.Second

// runRelay serves the relay's socket, mode 0600, until a signal.
func runRelay(path string) int {
	umask := unix.Umask(0o077)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	unix.Umask(umask)
	if err != nil {
		fmt.Fprintf(os.Stderr, "kelmesh-dataplane: relay: %v\n", err)
		return 1
	}
	sessions := relay.New()
	defer sessions.CloseAll()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		listener.Close()
	}()
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return 0
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		go func() {
			defer connection.Close()
			if connection.SetDeadline(time.Now().Add(requestTimeout)) == nil {
				_ = sessions.Handle(connection, connection)
			}
		}()
	}
}

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"kelmesh/dataplane/relay"
)

const requestTimeout = 10 * time.Second

// runRelay serves the relay's socket, mode 0600, until a signal. It uses the ports that are named, first and last, or any.
func runRelay(path string, named []string) int {
	ports, err := portsOf(named)
	if err != nil {
		fmt.Fprintf(os.Stderr, "kelmesh-dataplane: relay: %v\n", err)
		return 2
	}
	listener, err := listenUnix(path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "kelmesh-dataplane: relay: %v\n", err)
		return 1
	}
	sessions := relay.New(ports)
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

func portsOf(named []string) (relay.Ports, error) {
	if len(named) == 0 {
		return relay.Ports{}, nil
	}
	var numbers [2]uint16
	for i, text := range named {
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return relay.Ports{}, fmt.Errorf("expected a port, got %q", text)
		}
		numbers[i] = uint16(number)
	}
	if numbers[0] >= numbers[1] {
		return relay.Ports{}, fmt.Errorf("expected two ports at least, got %d to %d", numbers[0], numbers[1])
	}
	return relay.Ports{First: numbers[0], Last: numbers[1]}, nil
}

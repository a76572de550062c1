package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"

	"kelmesh/dataplane/bind"
	"kelmesh/dataplane/events"
	"kelmesh/dataplane/probes"
)

// socketDirectory is where UAPI has its sockets; it cannot be chosen.
const socketDirectory = "/var/run/wireguard"

// runDevice makes the interface and serves it until a signal, until the interface is deleted, or until its socket is.
func runDevice(name string) int {
	logger := device.NewLogger(logLevel(), fmt.Sprintf("(%s) ", name))
	fail := func(what string, err error) int {
		logger.Errorf("%s: %v", what, err)
		return 1
	}
	tunnel, err := tun.CreateTUN(name, device.DefaultMTU)
	if err != nil {
		return fail("Failed to create TUN device", err)
	}
	if actual, err := tunnel.Name(); err == nil {
		name = actual
	}
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		tunnel.Close()
		return fail("UAPI listen error", err)
	}
	sockets := bind.New()
	dev := device.NewDevice(tunnel, sockets, logger)
	defer dev.Close()
	// Before the device comes up: what the bind shows things to is read without a lock.
	watcher := events.NewWatcher(dev)
	sockets.Observer = watcher
	probing := probes.New(sockets.SendProbe)
	sockets.Probed = probing.Received

	done := make(chan struct{})
	defer close(done)
	go watcher.Run(done)
	eventsPath := filepath.Join(socketDirectory, name+".events")
	eventsListener, err := listenUnix(eventsPath)
	if err != nil {
		file.Close()
		return fail("Events listen error", err)
	}
	defer os.Remove(eventsPath)
	defer eventsListener.Close()
	watcher.Serve(eventsListener, done)
	probesPath := filepath.Join(socketDirectory, name+".probes")
	probesListener, err := listenUnix(probesPath)
	if err != nil {
		file.Close()
		return fail("Probes listen error", err)
	}
	defer os.Remove(probesPath)
	defer probesListener.Close()
	go probing.Serve(probesListener)

	listener, err := ipc.UAPIListen(name, file)
	if err != nil {
		return fail("Failed to listen on uapi socket", err)
	}
	defer listener.Close()
	ended := make(chan error, 1)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				ended <- err
				return
			}
			go dev.IpcHandle(connection)
		}
	}()

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, os.Interrupt)
	select {
	case <-signals:
	case <-ended:
	case <-dev.Wait():
	}
	return 0
}

func logLevel() int {
	switch os.Getenv("LOG_LEVEL") {
	case "verbose", "debug":
		return device.LogLevelVerbose
	case "silent":
		return device.LogLevelSilent
	}
	return device.LogLevelError
}

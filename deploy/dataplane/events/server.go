package events

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxSubscribers = 16
	// Bytes that wait for one subscriber: room for the state of 65,536 peers. What does not fit becomes one "overflow",
	// after which the subscriber has to read the device itself.
	maxWaiting   = 16 << 20
	writeTimeout = 10 * time.Second
)

const greeting = "protocol=kelmesh-device-events/1\n\n"

// Serve listens on a Unix socket at path, mode 0600, until done is closed. Whoever connects is told the state of each
// peer and, from then on, each event; it need not send anything.
func (w *Watcher) Serve(path string, done <-chan struct{}) error {
	listener, err := listen(path)
	if err != nil {
		return err
	}
	go func() {
		<-done
		listener.Close()
	}()
	places := make(chan struct{}, maxSubscribers)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				time.Sleep(100 * time.Millisecond)
				continue
			}
			select {
			case places <- struct{}{}:
			default:
				connection.Close()
				continue
			}
			go func() {
				w.serve(connection, done)
				<-places
			}()
		}
	}()
	return nil
}

// listen takes over a socket that a killed program has left, and none that answers.
func listen(path string) (*net.UnixListener, error) {
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

func (w *Watcher) serve(connection net.Conn, done <-chan struct{}) {
	defer connection.Close()
	sink := newSink()
	sink.put([]byte(greeting))
	w.subscribe(sink)
	defer w.unsubscribe(sink)
	// A subscriber that goes is noticed also while nothing happens.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for buffer := make([]byte, 256); ; {
			if _, err := connection.Read(buffer); err != nil {
				return
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		case <-gone:
			return
		case <-sink.filled:
		}
		text := sink.take()
		if err := connection.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return
		}
		if _, err := connection.Write(text); err != nil {
			return
		}
	}
}

// A sink is what waits for one subscriber.
type sink struct {
	filled chan struct{}

	mu       sync.Mutex
	waiting  []byte
	isBeyond bool // an overflow stands at the end already
}

func newSink() *sink { return &sink{filled: make(chan struct{}, 1)} }

func (s *sink) put(event []byte) {
	s.mu.Lock()
	switch {
	case len(s.waiting)+len(event) <= maxWaiting && !s.isBeyond:
		s.waiting = append(s.waiting, event...)
	case !s.isBeyond:
		s.isBeyond = true
		s.waiting = append(s.waiting, "event=overflow\n\n"...)
	}
	s.mu.Unlock()
	select {
	case s.filled <- struct{}{}:
	default:
	}
}

func (s *sink) take() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.waiting
	s.waiting, s.isBeyond = nil, false
	return text
}

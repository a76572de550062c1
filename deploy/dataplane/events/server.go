package events

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	maxSubscribers = 16
	// Bytes that wait for one subscriber: room for the state of 65,536 peers. What does not fit becomes one "overflow",
	// after which the subscriber has to read the device itself.
	maxWaiting   = 16 << 20
	writeTimeout = 10 * time.Second
	// Of one request, in bytes.
	maxRequest = 128
)

const greeting = "protocol=kelmesh-device-events/1\n\n"

// Serve answers whoever connects to listener, until that is closed: it is told the state of each peer and, from then on, each
// event; it need not send anything.
func (w *Watcher) Serve(listener net.Listener, done <-chan struct{}) {
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
		lines := bufio.NewScanner(connection)
		lines.Buffer(make([]byte, 0, maxRequest), maxRequest)
		for lines.Scan() {
			key, isRequest := strings.CutPrefix(lines.Text(), "handshake=")
			if !isRequest || w.begin(key) != nil {
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

// Package probes lets another program learn which ways between two devices are open, by probes from the devices' own sockets: the
// device is told where to send one, and tells when one comes that is expected. What is not expected is dropped here.
package probes

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"kelmesh/dataplane/bind"
)

const (
	greeting = "protocol=kelmesh-device-probes/1\n\n"
	// A token that came is told so often: the first time says all, later ones come from elsewhere or are repeated.
	maxTold = 8
	// Tokens of all who are connected.
	maxExpected    = 4096
	lifetime       = 60 * time.Second
	maxLine        = 128
	maxConnections = 16
	// News that wait for one who does not read.
	maxWaiting   = 256
	writeTimeout = 10 * time.Second
)

// A Sender sends one probe.
type Sender func(token bind.ProbeToken, to netip.AddrPort) error

// Probes holds what is expected. Its zero value is not usable; see New.
type Probes struct {
	send Sender

	mu       sync.Mutex
	expected map[bind.ProbeToken]*expectation
}

type expectation struct {
	news  chan<- string
	until time.Time
	told  int
}

// New returns probes that send by send; Received is to be shown what comes.
func New(send Sender) *Probes {
	return &Probes{send: send, expected: make(map[bind.ProbeToken]*expectation)}
}

// Received tells whoever expects the token.
func (p *Probes) Received(token bind.ProbeToken, from netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, isExpected := p.expected[token]
	if !isExpected || held.told >= maxTold || time.Now().After(held.until) {
		return
	}
	held.told++
	select {
	case held.news <- fmt.Sprintf("came=%s\nfrom=%s\n\n", hex.EncodeToString(token[:]), from):
	default:
	}
}

// Serve answers whoever connects to listener, until that is closed.
//
//	expect=TOKEN              from now on, for a minute, and no longer than the connection: came=TOKEN, from=ADDRESS when it comes
//	probe=TOKEN to=ADDRESS    sends one
//
// Each is a block of lines with an empty line after it, as UAPI has them; neither is answered. What cannot be read ends the connection.
func (p *Probes) Serve(listener net.Listener) {
	places := make(chan struct{}, maxConnections)
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
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
			p.serve(connection)
			<-places
		}()
	}
}

func (p *Probes) serve(connection net.Conn) {
	defer connection.Close()
	news := make(chan string, maxWaiting)
	gone := make(chan struct{})
	defer p.forget(news)
	go func() {
		defer close(gone)
		p.read(connection, news)
	}()
	for text := greeting; ; {
		if connection.SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return
		}
		if _, err := connection.Write([]byte(text)); err != nil {
			return
		}
		select {
		case <-gone:
			return
		case text = <-news:
		}
	}
}

func (p *Probes) read(connection net.Conn, news chan<- string) {
	scanner := bufio.NewScanner(connection)
	scanner.Buffer(make([]byte, 0, maxLine), maxLine)
	var block []string
	for scanner.Scan() {
		if line := scanner.Text(); line != "" {
			if block = append(block, line); len(block) > 2 {
				return
			}
			continue
		}
		if !p.take(block, news) {
			return
		}
		block = block[:0]
	}
}

// take does what a block asks for, and tells whether it could be read.
func (p *Probes) take(block []string, news chan<- string) bool {
	if len(block) == 0 {
		return false
	}
	verb, text, _ := strings.Cut(block[0], "=")
	token, isToken := bind.ParseProbeToken(text)
	switch {
	case !isToken:
		return false
	case verb == "expect" && len(block) == 1:
		p.expect(token, news)
		return true
	case verb == "probe" && len(block) == 2:
		target, isTarget := strings.CutPrefix(block[1], "to=")
		to, err := netip.ParseAddrPort(target)
		if !isTarget || err != nil {
			return false
		}
		// A way that is not there is what probes are for.
		_ = p.send(token, to)
		return true
	}
	return false
}

func (p *Probes) expect(token bind.ProbeToken, news chan<- string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.expected) >= maxExpected {
		for other, held := range p.expected {
			if now.After(held.until) {
				delete(p.expected, other)
			}
		}
	}
	if len(p.expected) < maxExpected {
		p.expected[token] = &expectation{news: news, until: now.Add(lifetime)}
	}
}

func (p *Probes) forget(news chan<- string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for token, held := range p.expected {
		if held.news == news {
			delete(p.expected, token)
		}
	}
}

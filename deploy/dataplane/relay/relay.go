// Package relay forwards WireGuard packets between two ends that cannot reach each other. It sees ciphertext alone.
//
// A session has two UDP ports, one for each end. What comes in at one leaves from the other. Which address an end has is
// known beforehand; its port is learnt from its handshake messages, and from nothing else, so that a replayed data packet
// from elsewhere moves nothing. Nothing is ever sent to an address that was not named when the session was made.
package relay

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/conn"
)

const (
	initiationType, initiationSize = 1, 148
	responseType, responseSize     = 2, 92
	cookieType, cookieSize         = 3, 64
	transportType, transportSize   = 4, 32
)

// MaxSessions bounds the sessions of one program: each holds four sockets.
const MaxSessions = 1024

var (
	ErrTooMany  = errors.New("too many sessions")
	ErrUnknown  = errors.New("no such session")
	ErrRepeated = errors.New("a session of this name is there already")
)

// Terms are what a session may use. All of them bind.
type Terms struct {
	// Addresses of the two ends, in the order of the ports that Open returns. An end whose address is not known
	// yet is the zero Addr: then the first handshake message decides.
	Ends [2]netip.Addr
	// Bytes that may be forwarded in all, both ways together.
	QuotaBytes uint64
	// Bytes per second, both ways together; a second's worth may come at once.
	RateBytes uint64
	// A session over which nothing has been forwarded for this long is closed.
	Idle time.Duration
}

// Counters are what a session has done so far.
type Counters struct {
	Packets, Bytes uint64
	// Dropped packets: no WireGuard message, from an address that is not the end's, or for an end whose port is not known.
	Unfit uint64
	// Dropped for the quota or the rate.
	Beyond uint64
}

// Ports are those that a relay may use, First to Last; both zero: any.
type Ports struct{ First, Last uint16 }

// Relay holds the sessions of one program.
type Relay struct {
	mu       sync.Mutex
	sessions map[string]*session
	ports    Ports
	// Where the search for a free port begins: one that was given up is not at once another's.
	next uint16
}

// New returns a relay without sessions.
func New(ports Ports) *Relay {
	return &Relay{sessions: make(map[string]*session), ports: ports, next: ports.First}
}

type session struct {
	terms    Terms
	legs     [2]*leg
	ports    [2]uint16
	closed   chan struct{}
	shut     sync.Once
	lastUsed atomic.Int64 // nanoseconds on the monotonic clock, since begin
	begin    time.Time

	packets, bytes, unfit, beyond atomic.Uint64

	budget struct {
		sync.Mutex
		tokens float64
		at     time.Time
	}
}

// A leg is the port of one end.
type leg struct {
	bind    *conn.StdNetBind
	address netip.Addr
	mu      sync.RWMutex
	at      *conn.StdNetEndpoint // nil until a handshake message has come
}

// Open makes a session and returns the port for each end.
func (r *Relay) Open(name string, terms Terms) ([2]uint16, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, isThere := r.sessions[name]; isThere {
		return [2]uint16{}, ErrRepeated
	}
	if len(r.sessions) >= MaxSessions {
		return [2]uint16{}, ErrTooMany
	}
	now := time.Now()
	made := &session{terms: terms, closed: make(chan struct{}), begin: now}
	made.budget.tokens, made.budget.at = float64(terms.RateBytes), now
	var receivers [2][]conn.ReceiveFunc
	for i := range made.legs {
		bind := conn.NewStdNetBind().(*conn.StdNetBind)
		receives, port, err := r.listen(bind)
		if err != nil {
			made.close()
			return [2]uint16{}, err
		}
		made.legs[i] = &leg{bind: bind, address: terms.Ends[i].Unmap()}
		made.ports[i], receivers[i] = port, receives
	}
	r.sessions[name] = made
	for i := range made.legs {
		for _, receive := range receivers[i] {
			go made.forward(made.legs[i], made.legs[1-i], receive)
		}
	}
	go r.watch(name, made)
	return made.ports, nil
}

// listen opens bind at a port that is free.
func (r *Relay) listen(bind *conn.StdNetBind) ([]conn.ReceiveFunc, uint16, error) {
	if r.ports.Last == 0 {
		return bind.Open(0)
	}
	for range int(r.ports.Last) - int(r.ports.First) + 1 {
		port := r.next
		if r.next++; r.next > r.ports.Last || r.next < r.ports.First {
			r.next = r.ports.First
		}
		receives, actual, err := bind.Open(port)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return receives, actual, err
		}
	}
	return nil, 0, ErrTooMany
}

// Close ends a session.
func (r *Relay) Close(name string) error {
	r.mu.Lock()
	held, isThere := r.sessions[name]
	delete(r.sessions, name)
	r.mu.Unlock()
	if !isThere {
		return ErrUnknown
	}
	held.close()
	return nil
}

// CloseAll ends every session.
func (r *Relay) CloseAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, held := range r.sessions {
		held.close()
		delete(r.sessions, name)
	}
}

// List calls visit for each session, in no order.
func (r *Relay) List(visit func(name string, ports [2]uint16, counters Counters)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, held := range r.sessions {
		visit(name, held.ports, Counters{
			Packets: held.packets.Load(), Bytes: held.bytes.Load(), Unfit: held.unfit.Load(), Beyond: held.beyond.Load(),
		})
	}
}

// watch ends a session that nobody uses.
func (r *Relay) watch(name string, held *session) {
	for {
		idle := time.Since(held.begin) - time.Duration(held.lastUsed.Load())
		if idle >= held.terms.Idle {
			r.mu.Lock()
			if r.sessions[name] == held {
				delete(r.sessions, name)
			}
			r.mu.Unlock()
			held.close()
			return
		}
		select {
		case <-held.closed:
			return
		case <-time.After(held.terms.Idle - idle):
		}
	}
}

func (s *session) close() {
	s.shut.Do(func() {
		close(s.closed)
		for _, leg := range s.legs {
			if leg != nil {
				leg.bind.Close()
			}
		}
	})
}

func (s *session) forward(in, out *leg, receive conn.ReceiveFunc) {
	size := in.bind.BatchSize()
	packets, sizes, endpoints := make([][]byte, size), make([]int, size), make([]conn.Endpoint, size)
	for i := range packets {
		// Room for what the kernel has coalesced, and for the sender to coalesce again.
		packets[i] = make([]byte, 1<<16-1)
	}
	batch := make([][]byte, 0, size)
	for {
		count, err := receive(packets, sizes, endpoints)
		if err != nil {
			select {
			case <-s.closed:
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		to := out.endpoint()
		batch = batch[:0]
		bytes := uint64(0)
		for i := range count {
			if sizes[i] == 0 {
				continue
			}
			packet := packets[i][:sizes[i]]
			endpoint, isStandard := endpoints[i].(*conn.StdNetEndpoint)
			if !isStandard || !in.takes(packet, endpoint) || to == nil {
				s.unfit.Add(1)
				continue
			}
			if !s.spend(uint64(len(packet))) {
				s.beyond.Add(1)
				continue
			}
			bytes += uint64(len(packet))
			batch = append(batch, packet)
		}
		if len(batch) == 0 {
			continue
		}
		if out.bind.Send(batch, to) == nil {
			s.packets.Add(uint64(len(batch)))
			s.bytes.Add(bytes)
			s.lastUsed.Store(int64(time.Since(s.begin)))
		}
	}
}

// spend takes from the rate and the quota, and tells whether both had enough.
func (s *session) spend(bytes uint64) bool {
	s.budget.Lock()
	defer s.budget.Unlock()
	now := time.Now()
	rate := float64(s.terms.RateBytes)
	s.budget.tokens = min(rate, s.budget.tokens+now.Sub(s.budget.at).Seconds()*rate)
	s.budget.at = now
	if s.budget.tokens < float64(bytes) || s.terms.QuotaBytes < bytes {
		return false
	}
	s.budget.tokens -= float64(bytes)
	s.terms.QuotaBytes -= bytes
	return true
}

// takes tells whether packet is a WireGuard message of this end, and learns the end's port from its handshake messages.
func (l *leg) takes(packet []byte, from *conn.StdNetEndpoint) bool {
	kind := kindOf(packet)
	if kind == 0 {
		return false
	}
	address := from.Addr().Unmap().WithZone("")
	l.mu.RLock()
	isEnd := (!l.address.IsValid() || l.address == address)
	isKnown := l.at != nil && l.at.AddrPort == from.AddrPort
	l.mu.RUnlock()
	if !isEnd {
		return false
	}
	if isKnown {
		return true
	}
	if kind != initiationType && kind != responseType {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// An address that nobody had named is that of whoever came first.
	if l.address.IsValid() && l.address != address {
		return false
	}
	l.address = address
	l.at = from
	return true
}

func (l *leg) endpoint() conn.Endpoint {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.at == nil {
		return nil
	}
	return l.at
}

// kindOf returns the type of a WireGuard message; 0 for what is none by its type, its reserved bytes or its size.
func kindOf(packet []byte) uint32 {
	if len(packet) < transportSize {
		return 0
	}
	kind := binary.LittleEndian.Uint32(packet)
	switch {
	case kind == initiationType && len(packet) == initiationSize,
		kind == responseType && len(packet) == responseSize,
		kind == cookieType && len(packet) == cookieSize,
		// Padded to 16 bytes, but not beyond the sender's MTU: a full-size packet has any length.
		kind == transportType:
		return kind
	}
	return 0
}

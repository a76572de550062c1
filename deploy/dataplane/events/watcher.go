// Package events tells other programs when a peer has shaken hands or moved, at the moment at which it does.
//
// What is told is read from the device itself (the UAPI get operation). The packets that pass only say when it is worth
// looking: a handshake response to an own initiation, the first data under a session that an own response has opened, data
// of a known session from another address. A stranger who forges such a packet costs one look, and looks have a pause.
package events

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

const (
	// The device takes a packet some time after it was shown here.
	firstLook = 2 * time.Millisecond
	// A look reads every peer: this bounds what forged packets can cost.
	pause = 50 * time.Millisecond
	// Looks that find nothing new before one waits for the next packet again.
	looks = 4
	// Sessions whose last packet is older are forgotten (REJECT_AFTER_TIME is 180 s).
	sessionAge  = 10 * time.Minute
	maxSessions = 1 << 17
)

// A Peer is what is told of one: no key but the public one.
type Peer struct {
	PublicKey string // 64 hexadecimal digits
	Endpoint  string // "192.0.2.1:51820", empty where none is known
	// LastHandshake is the time of the last one, seconds and nanoseconds since the Unix epoch; zero where there was none.
	LastHandshakeSec, LastHandshakeNsec string
}

func (p Peer) hasHandshake() bool {
	return p.LastHandshakeSec != "0" || p.LastHandshakeNsec != "0"
}

type session struct {
	from netip.AddrPort
	// An own response that no data has come for yet.
	isAwaited bool
	at        time.Time
}

// Watcher is the bind's observer. Its zero value is not usable; see NewWatcher.
type Watcher struct {
	get   func(w *stateWriter) error
	begin func(publicKey string) error
	wake  chan struct{}

	mu sync.RWMutex
	// By the own index, which the other end puts into each packet.
	sessions map[uint32]session

	tell  sync.Mutex
	peers map[string]Peer
	sinks map[*sink]struct{}
}

// NewWatcher returns a watcher of dev; Run makes it work.
func NewWatcher(dev *device.Device) *Watcher {
	begin := func(publicKey string) error {
		var key device.NoisePublicKey
		if err := key.FromHex(publicKey); err != nil {
			return err
		}
		if peer := dev.LookupPeer(key); peer != nil {
			// What keeps it from going out is what keeps any other from it; whoever asked waits for the handshake.
			_ = peer.SendHandshakeInitiation(false)
		}
		return nil
	}
	return newWatcher(func(w *stateWriter) error { return dev.IpcGetOperation(w) }, begin)
}

func newWatcher(get func(w *stateWriter) error, begin func(publicKey string) error) *Watcher {
	return &Watcher{
		get:      get,
		begin:    begin,
		wake:     make(chan struct{}, 1),
		sessions: make(map[uint32]session),
		peers:    make(map[string]Peer),
		sinks:    make(map[*sink]struct{}),
	}
}

// Sent notes the indices under which answers will come.
func (w *Watcher) Sent(messages [][]byte) {
	for _, message := range messages {
		if len(message) < 8 {
			continue
		}
		switch message[0] {
		case device.MessageInitiationType, device.MessageResponseType:
			w.expect(binary.LittleEndian.Uint32(message[4:]), message[0] == device.MessageResponseType)
		}
	}
}

func (w *Watcher) expect(index uint32, isAwaited bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sessions) >= maxSessions {
		for other, held := range w.sessions {
			if now.Sub(held.at) > sessionAge {
				delete(w.sessions, other)
			}
		}
		if len(w.sessions) >= maxSessions {
			clear(w.sessions)
		}
	}
	w.sessions[index] = session{isAwaited: isAwaited, at: now}
}

// Received looks at the type and the receiver's index of each message. Nearly all come in runs of one session.
func (w *Watcher) Received(packets [][]byte, sizes []int, from []conn.Endpoint) {
	var last struct {
		index uint32
		at    netip.AddrPort
	}
	for i, packet := range packets {
		kind, index := receiverOf(packet[:sizes[i]])
		if kind == 0 {
			continue
		}
		endpoint, isStandard := from[i].(*conn.StdNetEndpoint)
		if !isStandard {
			continue
		}
		isRun := kind == device.MessageTransportType && index == last.index && endpoint.AddrPort == last.at
		if isRun {
			continue
		}
		last.index, last.at = index, endpoint.AddrPort
		w.received(kind, index, endpoint.AddrPort)
	}
}

// receiverOf reads the session that a message is for; kind 0 where it names none.
func receiverOf(message []byte) (kind byte, index uint32) {
	if len(message) < 12 {
		return 0, 0
	}
	switch message[0] {
	case device.MessageTransportType:
		return message[0], binary.LittleEndian.Uint32(message[device.MessageTransportOffsetReceiver:])
	case device.MessageResponseType:
		return message[0], binary.LittleEndian.Uint32(message[8:])
	}
	return 0, 0
}

func (w *Watcher) received(kind byte, index uint32, from netip.AddrPort) {
	w.mu.RLock()
	held, isOurs := w.sessions[index]
	w.mu.RUnlock()
	if !isOurs || (kind == device.MessageTransportType && !held.isAwaited && held.from == from) {
		return
	}
	w.mu.Lock()
	w.sessions[index] = session{from: from, at: time.Now()}
	w.mu.Unlock()
	w.look()
}

func (w *Watcher) look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run looks at the device when there is a reason to, until done is closed.
func (w *Watcher) Run(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-w.wake:
		}
		for wait, left := firstLook, looks; left > 0; left-- {
			select {
			case <-done:
				return
			case <-time.After(wait):
			}
			if w.refresh() {
				break
			}
			wait = min(4*wait, pause)
		}
		select {
		case <-done:
			return
		case <-time.After(pause):
		}
	}
}

// refresh reads the device and tells what has changed. It reports whether anything has.
func (w *Watcher) refresh() bool {
	w.tell.Lock()
	defer w.tell.Unlock()
	state := stateWriter{peers: make(map[string]Peer, len(w.peers))}
	if err := w.get(&state); err != nil {
		return false
	}
	isNews := false
	for key, peer := range state.peers {
		before := w.peers[key]
		hasShaken := peer.hasHandshake() &&
			(peer.LastHandshakeSec != before.LastHandshakeSec || peer.LastHandshakeNsec != before.LastHandshakeNsec)
		switch {
		case hasShaken:
			w.publish("handshake", peer)
		case peer.Endpoint != before.Endpoint && peer.hasHandshake():
			w.publish("endpoint", peer)
		default:
			continue
		}
		isNews = true
	}
	w.peers = state.peers
	return isNews
}

func (w *Watcher) publish(kind string, peer Peer) {
	for sink := range w.sinks {
		sink.put(format(kind, peer))
	}
}

// subscribe gives sink the state of every peer, and from then on every event.
func (w *Watcher) subscribe(sink *sink) {
	w.refresh()
	w.tell.Lock()
	defer w.tell.Unlock()
	for _, peer := range w.peers {
		sink.put(format("state", peer))
	}
	sink.put([]byte("event=ready\n\n"))
	w.sinks[sink] = struct{}{}
}

func (w *Watcher) unsubscribe(sink *sink) {
	w.tell.Lock()
	defer w.tell.Unlock()
	delete(w.sinks, sink)
}

// format writes lines as UAPI has them, and an empty one.
func format(kind string, peer Peer) []byte {
	var text bytes.Buffer
	text.WriteString("event=" + kind + "\npublic_key=" + peer.PublicKey + "\n")
	if peer.Endpoint != "" {
		text.WriteString("endpoint=" + peer.Endpoint + "\n")
	}
	text.WriteString("last_handshake_time_sec=" + peer.LastHandshakeSec + "\n")
	text.WriteString("last_handshake_time_nsec=" + peer.LastHandshakeNsec + "\n\n")
	return text.Bytes()
}

// stateWriter reads the answer to a get operation as it is written, and keeps no secret of it.
type stateWriter struct {
	peers   map[string]Peer
	current Peer
}

// Write takes the whole answer: the device writes it at once.
func (s *stateWriter) Write(answer []byte) (int, error) {
	for rest := answer; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		key, value, _ := bytes.Cut(line, []byte{'='})
		switch string(key) {
		case "public_key":
			s.current = Peer{PublicKey: string(value), LastHandshakeSec: "0", LastHandshakeNsec: "0"}
		case "endpoint":
			s.current.Endpoint = string(value)
		case "last_handshake_time_sec":
			s.current.LastHandshakeSec = string(value)
		case "last_handshake_time_nsec":
			s.current.LastHandshakeNsec = string(value)
		default:
			continue
		}
		s.peers[s.current.PublicKey] = s.current
	}
	return len(answer), nil
}

// Package bind stands between a WireGuard device and its UDP sockets. It wraps the standard bind, so that segmentation
// offload, batching and sticky sources stay as they are, and adds four things: a place for a codec that changes the bytes on
// the wire, an observer that is shown what passes, probes beside the messages of WireGuard, and the choice of the source address
// again after a change of routes, which the device itself offers to the bare standard bind alone.
package bind

import (
	"net/netip"
	"sync/atomic"

	"golang.zx2c4.com/wireguard/conn"
)

// A Codec changes what travels on the wire. Its methods run concurrently, for each datagram, and must not block or allocate.
type Codec interface {
	// Encode turns a WireGuard message into a datagram, in place; the result may be longer than message, up to its
	// capacity. An empty result sends nothing.
	Encode(message []byte, to conn.Endpoint) []byte
	// Decode turns a datagram into a WireGuard message, in place, and returns its length; 0 drops it.
	Decode(datagram []byte, from conn.Endpoint) int
}

// An Observer is shown every WireGuard message that passes, whether or not the device will accept it. Its methods run
// concurrently on the path of the packets and must not keep the bytes.
type Observer interface {
	Sent(messages [][]byte)
	// Received is given what one read has brought: the first sizes[i] bytes of packets[i], 0 for none.
	Received(packets [][]byte, sizes []int, from []conn.Endpoint)
}

// Bind is a conn.Bind around the standard one. Codec, Observer and Probed may be nil; they are set before the first Open.
type Bind struct {
	*conn.StdNetBind
	Codec    Codec
	Observer Observer
	// Probed is shown every probe that comes, whoever sent it. It must not block.
	Probed func(token ProbeToken, from netip.AddrPort)

	sources sources
	mark    atomic.Uint32
}

var _ conn.Bind = (*Bind)(nil)

// New returns a closed bind.
func New() *Bind {
	return &Bind{StdNetBind: conn.NewStdNetBind().(*conn.StdNetBind)}
}

// Open opens the sockets and begins to listen for changes of routes.
func (b *Bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receives, actual, err := b.StdNetBind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	// Without it sources stay as they are, as with a device on a system that has no netlink.
	_ = b.sources.start()
	wrapped := make([]conn.ReceiveFunc, len(receives))
	for i, receive := range receives {
		wrapped[i] = b.receiver(receive)
	}
	return wrapped, actual, nil
}

// Close closes the sockets; Open may follow.
func (b *Bind) Close() error {
	b.sources.stop()
	return b.StdNetBind.Close()
}

// SetMark sets SO_MARK of the sockets, and of the questions about routes.
func (b *Bind) SetMark(mark uint32) error {
	b.mark.Store(mark)
	return b.StdNetBind.SetMark(mark)
}

// Send sends the messages to one endpoint.
func (b *Bind) Send(messages [][]byte, to conn.Endpoint) error {
	if b.Observer != nil {
		b.Observer.Sent(messages)
	}
	if b.sources.changed() {
		to = b.sources.current(to, b.mark.Load())
	}
	if b.Codec == nil {
		return b.StdNetBind.Send(messages, to)
	}
	datagrams := make([][]byte, 0, len(messages))
	for _, message := range messages {
		if datagram := b.Codec.Encode(message, to); len(datagram) > 0 {
			datagrams = append(datagrams, datagram)
		}
	}
	if len(datagrams) == 0 {
		return nil
	}
	return b.StdNetBind.Send(datagrams, to)
}

func (b *Bind) receiver(receive conn.ReceiveFunc) conn.ReceiveFunc {
	return func(packets [][]byte, sizes []int, endpoints []conn.Endpoint) (int, error) {
		count, err := receive(packets, sizes, endpoints)
		for i := range count {
			switch {
			case sizes[i] == 0:
			case b.takeProbe(packets[i][:sizes[i]], endpoints[i]):
				sizes[i] = 0
			case b.Codec != nil:
				sizes[i] = b.Codec.Decode(packets[i][:sizes[i]], endpoints[i])
			}
		}
		if b.Observer != nil {
			b.Observer.Received(packets[:count], sizes, endpoints)
		}
		return count, err
	}
}

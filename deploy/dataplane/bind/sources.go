package bind

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/rwcancel"
)

// maxVerdicts bounds what is remembered between two changes of routes: one entry per path that was used.
const maxVerdicts = 1 << 16

// A path is the way that packets to an endpoint take: where to, and from which address and interface.
type path struct {
	to     netip.AddrPort
	from   netip.Addr
	device int32
}

// sources decides, after the routes of the system have changed, whether the source that was learnt from a peer's last packet
// still holds. The standard bind sends from the address that the peer has answered to ("sticky"); when the route to the peer
// moves to another interface that address leads nowhere. The device's own listener does the same for IPv4, and only where
// its bind is the standard one.
type sources struct {
	generation atomic.Uint64 // counts changes of routes
	mu         sync.Mutex
	seen       uint64 // the generation of verdicts
	verdicts   map[path]bool
	listener   *rwcancel.RWCancel // nil while closed
}

// changed tells whether any route has changed since the bind was opened: until then every source holds.
func (s *sources) changed() bool { return s.generation.Load() != 0 }

// current returns to, or the same endpoint without a source where that source does not hold any more. It never changes an
// endpoint, which other goroutines read.
func (s *sources) current(to conn.Endpoint, mark uint32) conn.Endpoint {
	endpoint, isStandard := to.(*conn.StdNetEndpoint)
	if !isStandard || endpoint.SrcIfidx() == 0 {
		return to
	}
	way := path{to: endpoint.AddrPort, from: endpoint.SrcIP(), device: endpoint.SrcIfidx()}
	if s.holds(way, mark) {
		return to
	}
	return &conn.StdNetEndpoint{AddrPort: endpoint.AddrPort}
}

func (s *sources) holds(way path, mark uint32) bool {
	generation := s.generation.Load()
	s.mu.Lock()
	if s.verdicts == nil || s.seen != generation || len(s.verdicts) >= maxVerdicts {
		s.seen, s.verdicts = generation, make(map[path]bool)
	}
	verdict, isKnown := s.verdicts[way]
	s.mu.Unlock()
	if isKnown {
		return verdict
	}
	index, err := routeInterface(way.to.Addr(), way.from, mark)
	// An address that is gone is refused with EINVAL or EADDRNOTAVAIL: the source does not hold.
	verdict = err == nil && index == way.device
	s.mu.Lock()
	if s.seen == generation {
		s.verdicts[way] = verdict
	}
	s.mu.Unlock()
	return verdict
}

func (s *sources) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	fd, err := netlink(unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR)
	if err != nil {
		return err
	}
	listener, err := rwcancel.NewRWCancel(fd)
	if err != nil {
		unix.Close(fd)
		return err
	}
	s.listener = listener
	go s.listen(fd, listener)
	return nil
}

func (s *sources) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		_ = s.listener.Cancel()
		s.listener = nil
	}
}

func (s *sources) listen(fd int, listener *rwcancel.RWCancel) {
	defer unix.Close(fd)
	defer listener.Close()
	for buffer := make([]byte, 1<<16); ; {
		_, _, err := unix.Recvfrom(fd, buffer, 0)
		switch {
		// ENOBUFS: changes were lost, so there were some.
		case err == nil || err == unix.ENOBUFS:
			s.generation.Add(1)
		case !rwcancel.RetryAfterError(err) || !listener.ReadyRead():
			return
		}
	}
}

func netlink(groups uint32) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// routeInterface asks the system over which interface it would send from from to to (RTM_GETROUTE).
func routeInterface(to, from netip.Addr, mark uint32) (int32, error) {
	fd, err := netlink(0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	// The kernel answers within the call; the limit is for a system that does not.
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	if err := unix.Sendto(fd, routeRequest(to.Unmap(), from.Unmap(), mark), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	buffer := make([]byte, 1<<12)
	n, _, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return 0, err
	}
	return outputInterface(buffer[:n])
}

func routeRequest(to, from netip.Addr, mark uint32) []byte {
	family := byte(unix.AF_INET)
	if to.Is6() {
		family = unix.AF_INET6
	}
	message := make([]byte, unix.SizeofNlMsghdr+unix.SizeofRtMsg)
	message[unix.SizeofNlMsghdr] = family
	message[unix.SizeofNlMsghdr+1] = byte(to.BitLen())
	message = appendAttribute(message, unix.RTA_DST, to.AsSlice())
	if from.IsValid() && from.BitLen() == to.BitLen() {
		message[unix.SizeofNlMsghdr+2] = byte(from.BitLen())
		message = appendAttribute(message, unix.RTA_SRC, from.AsSlice())
	}
	if mark != 0 {
		message = appendAttribute(message, unix.RTA_MARK, binary.NativeEndian.AppendUint32(nil, mark))
	}
	putHeader(message, unix.RTM_GETROUTE, unix.NLM_F_REQUEST)
	return message
}

func putHeader(message []byte, kind, flags uint16) {
	binary.NativeEndian.PutUint32(message[0:], uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], kind)
	binary.NativeEndian.PutUint16(message[6:], flags)
}

func appendAttribute(message []byte, kind uint16, value []byte) []byte {
	message = binary.NativeEndian.AppendUint16(message, uint16(unix.SizeofRtAttr+len(value)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = append(message, value...)
	for len(message)%unix.RTA_ALIGNTO != 0 {
		message = append(message, 0)
	}
	return message
}

// outputInterface reads RTA_OIF of a route message; an error message gives its errno.
func outputInterface(reply []byte) (int32, error) {
	if len(reply) < unix.SizeofNlMsghdr+4 {
		return 0, unix.EPROTO
	}
	if kind := binary.NativeEndian.Uint16(reply[4:]); kind == unix.NLMSG_ERROR {
		return 0, unix.Errno(-int32(binary.NativeEndian.Uint32(reply[unix.SizeofNlMsghdr:])))
	} else if kind != unix.RTM_NEWROUTE {
		return 0, unix.EPROTO
	}
	length := min(int(binary.NativeEndian.Uint32(reply)), len(reply))
	for at := unix.SizeofNlMsghdr + unix.SizeofRtMsg; at+unix.SizeofRtAttr <= length; {
		size := int(binary.NativeEndian.Uint16(reply[at:]))
		if size < unix.SizeofRtAttr || at+size > length {
			break
		}
		if binary.NativeEndian.Uint16(reply[at+2:]) == unix.RTA_OIF && size == unix.SizeofRtAttr+4 {
			return int32(binary.NativeEndian.Uint32(reply[at+unix.SizeofRtAttr:])), nil
		}
		at += (size + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1)
	}
	return 0, unix.ENETUNREACH
}

package bind

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// mask flips the first byte, and appends one on the way out.
type mask struct{}

func (mask) Encode(message []byte, _ conn.Endpoint) []byte {
	message[0] ^= 0xff
	return append(message, 0x55)
}

func (mask) Decode(datagram []byte, _ conn.Endpoint) int {
	if datagram[len(datagram)-1] != 0x55 {
		return 0
	}
	datagram[0] ^= 0xff
	return len(datagram) - 1
}

type recorder struct{ sent, received [][]byte }

func (r *recorder) Sent(messages [][]byte) {
	for _, message := range messages {
		r.sent = append(r.sent, bytes.Clone(message))
	}
}

func (r *recorder) Received(packets [][]byte, sizes []int, _ []conn.Endpoint) {
	for i, packet := range packets {
		if sizes[i] > 0 {
			r.received = append(r.received, bytes.Clone(packet[:sizes[i]]))
		}
	}
}

func open(t *testing.T, b *Bind) (func() []byte, netip.AddrPort) {
	t.Helper()
	receives, port, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	one := func() []byte {
		packets, sizes, endpoints := make([][]byte, b.BatchSize()), make([]int, b.BatchSize()), make([]conn.Endpoint, b.BatchSize())
		for i := range packets {
			packets[i] = make([]byte, 1<<16)
		}
		count, err := receives[0](packets, sizes, endpoints)
		if err != nil || count != 1 {
			t.Fatalf("expected one packet, got %d, %v", count, err)
		}
		return packets[0][:sizes[0]]
	}
	return one, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
}

func TestCodecChangesWhatTravelsAndTheObserverSeesWireGuard(t *testing.T) {
	left, right := New(), New()
	left.Codec, right.Codec = mask{}, mask{}
	seen := &recorder{}
	left.Observer, right.Observer = seen, seen
	_, _ = open(t, left)
	receive, to := open(t, right)
	message := append(make([]byte, 0, 64), []byte("\x04\x00\x00\x00 a message of thirty-two bytes")...)
	want := bytes.Clone(message)
	if err := left.Send([][]byte{message}, &conn.StdNetEndpoint{AddrPort: to}); err != nil {
		t.Fatal(err)
	}
	if got := receive(); !bytes.Equal(got, want) {
		t.Fatalf("expected %q, got %q", want, got)
	}
	if len(seen.sent) != 1 || len(seen.received) != 1 || !bytes.Equal(seen.sent[0], want) || !bytes.Equal(seen.received[0], want) {
		t.Fatalf("the observer was shown %q and %q", seen.sent, seen.received)
	}
	// What the codec does not know is dropped: the device skips it by its size.
	plain := New()
	_, _ = open(t, plain)
	if err := plain.Send([][]byte{want}, &conn.StdNetEndpoint{AddrPort: to}); err != nil {
		t.Fatal(err)
	}
	if got := receive(); len(got) != 0 {
		t.Fatalf("expected nothing, got %q", got)
	}
}

func TestOpensAgainAfterClose(t *testing.T) {
	b := New()
	for range 3 {
		if _, _, err := b.Open(0); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSourceIsAskedAboutOnceAfterAChangeOfRoutes(t *testing.T) {
	var s sources
	way := path{
		to:     netip.MustParseAddrPort("127.0.0.1:9"),
		from:   netip.MustParseAddr("127.0.0.1"),
		device: 1,
	}
	if !s.holds(way, 0) {
		t.Fatal("the loopback's own address leads over the loopback")
	}
	way.device = 4711
	if s.holds(way, 0) {
		t.Fatal("a source on an interface over which no route leads does not hold")
	}
	way.from, way.device = netip.MustParseAddr("192.0.2.77"), 1
	if s.holds(way, 0) {
		t.Fatal("a source that is no address of this machine does not hold")
	}
	if len(s.verdicts) != 3 {
		t.Fatalf("expected three verdicts, got %d", len(s.verdicts))
	}
	s.generation.Add(1)
	s.holds(way, 0)
	if len(s.verdicts) != 1 {
		t.Fatal("verdicts of an earlier generation count no more")
	}
}

func TestNoticesAChangeOfAddresses(t *testing.T) {
	b := New()
	open(t, b)
	if b.sources.changed() {
		t.Skip("routes of this machine change meanwhile")
	}
	if err := unix.Access("/dev/net/tun", unix.W_OK); err != nil {
		t.Skip("no permission to change addresses")
	}
	if err := addLoopbackAddress(unix.RTM_NEWADDR); err != nil {
		t.Skipf("addresses cannot be changed here: %v", err)
	}
	defer addLoopbackAddress(unix.RTM_DELADDR)
	for end := time.Now().Add(10 * time.Second); !b.sources.changed(); {
		if time.Now().After(end) {
			t.Fatal("a new address was not noticed")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// addLoopbackAddress adds or removes 127.77.0.9/32 on the loopback.
func addLoopbackAddress(kind uint16) error {
	fd, err := netlink(0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	message := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfAddrmsg)
	message[unix.SizeofNlMsghdr] = unix.AF_INET
	message[unix.SizeofNlMsghdr+1] = 32
	message[unix.SizeofNlMsghdr+4] = 1
	address := []byte{127, 77, 0, 9}
	message = appendAttribute(message, unix.IFA_LOCAL, address)
	message = appendAttribute(message, unix.IFA_ADDRESS, address)
	putHeader(message, kind, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE)
	if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buffer := make([]byte, 1<<12)
	n, _, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return err
	}
	if _, err := outputInterface(buffer[:n]); err != unix.Errno(0) {
		return err
	}
	return nil
}

func TestProbesComeFromTheSocketsOfTheDeviceAndNeverReachIt(t *testing.T) {
	left, right := New(), New()
	// A codec sees nothing of them.
	left.Codec, right.Codec = mask{}, mask{}
	type probe struct {
		token ProbeToken
		from  netip.AddrPort
	}
	came := make(chan probe, 1)
	right.Probed = func(token ProbeToken, from netip.AddrPort) { came <- probe{token, from} }
	_, own := open(t, left)
	receive, to := open(t, right)
	token, isToken := ParseProbeToken("000102030405060708090a0b0c0d0e0f")
	if !isToken {
		t.Fatal("expected a token")
	}
	if err := left.SendProbe(token, to); err != nil {
		t.Fatal(err)
	}
	if got := receive(); len(got) != 0 {
		t.Fatalf("expected the device to be shown nothing, got %q", got)
	}
	if got := <-came; got != (probe{token, own}) {
		t.Fatalf("got %v, expected it from %v", got, own)
	}
	for _, nowhere := range []string{"0.0.0.0:1", "224.0.0.1:1", "127.0.0.1:0"} {
		if left.SendProbe(token, netip.MustParseAddrPort(nowhere)) == nil {
			t.Fatalf("a probe went to %s", nowhere)
		}
	}
	for _, text := range []string{"", "00", "000102030405060708090A0B0C0D0E0F", "000102030405060708090a0b0c0d0e0g"} {
		if _, isToken := ParseProbeToken(text); isToken {
			t.Fatalf("%q was read as a token", text)
		}
	}
}

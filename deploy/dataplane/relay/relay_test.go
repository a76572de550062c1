package relay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func packet(kind uint32, size int, fill byte) []byte {
	bytes := bytes.Repeat([]byte{fill}, size)
	binary.LittleEndian.PutUint32(bytes, kind)
	return bytes
}

func terms() Terms {
	return Terms{Ends: [2]netip.Addr{loopback, loopback}, QuotaBytes: 1 << 20, RateBytes: 1 << 20, Idle: time.Minute}
}

type end struct {
	*net.UDPConn
	t  *testing.T
	to uint16
}

func newEnd(t *testing.T, address string, to uint16) *end {
	t.Helper()
	connection, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(address)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return &end{connection, t, to}
}

func (e *end) send(packet []byte) {
	e.t.Helper()
	if _, err := e.WriteToUDPAddrPort(packet, netip.AddrPortFrom(loopback, e.to)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *end) expect(want []byte) {
	e.t.Helper()
	e.SetReadDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, 1<<16)
	n, err := e.Read(buffer)
	if err != nil || !bytes.Equal(buffer[:n], want) {
		e.t.Fatalf("expected %d bytes of %d, got %d, %v", len(want), want[len(want)-1], n, err)
	}
}

func (e *end) expectNothing() {
	e.t.Helper()
	e.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	if n, err := e.Read(make([]byte, 1<<16)); err == nil {
		e.t.Fatalf("expected nothing, got %d bytes", n)
	}
}

func pair(t *testing.T, terms Terms) (*Relay, *end, *end) {
	t.Helper()
	r := New(Ports{})
	t.Cleanup(r.CloseAll)
	ports, err := r.Open("s", terms)
	if err != nil {
		t.Fatal(err)
	}
	return r, newEnd(t, "127.0.0.1", ports[0]), newEnd(t, "127.0.0.1", ports[1])
}

func shake(r *Relay, left, right *end) {
	before := counters(r).Unfit
	right.send(packet(responseType, responseSize, 1))
	eventually(right.t, func() bool { return counters(r).Unfit > before })
	left.send(packet(initiationType, initiationSize, 2))
	right.expect(packet(initiationType, initiationSize, 2))
}

// eventually waits for what the relay does after it has passed a packet on.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}

func counters(r *Relay) (found Counters) {
	r.List(func(_ string, _ [2]uint16, done Counters) { found = done })
	return found
}

func TestForwardsBothWaysOnceBothEndsHaveShakenHands(t *testing.T) {
	r, left, right := pair(t, terms())
	left.send(packet(transportType, 64, 9))
	right.expectNothing()
	shake(r, left, right)
	left.send(packet(transportType, 1312, 3))
	right.expect(packet(transportType, 1312, 3))
	right.send(packet(transportType, 32, 4))
	left.expect(packet(transportType, 32, 4))
	eventually(t, func() bool { return counters(r) == Counters{Packets: 3, Bytes: 148 + 1312 + 32, Unfit: 2} })
}

func TestMovesForAHandshakeAndNeverForData(t *testing.T) {
	r, left, right := pair(t, terms())
	shake(r, left, right)
	moved := newEnd(t, "127.0.0.1", left.to)
	before := counters(r).Unfit
	moved.send(packet(transportType, 64, 5))
	right.expectNothing()
	eventually(t, func() bool { return counters(r).Unfit == before+1 })
	right.send(packet(transportType, 64, 6))
	left.expect(packet(transportType, 64, 6))
	moved.send(packet(initiationType, initiationSize, 7))
	right.expect(packet(initiationType, initiationSize, 7))
	right.send(packet(transportType, 64, 8))
	moved.expect(packet(transportType, 64, 8))
}

func TestTakesNothingFromAnAddressThatWasNotNamed(t *testing.T) {
	r, left, right := pair(t, terms())
	shake(r, left, right)
	stranger := newEnd(t, "127.0.0.2", left.to)
	stranger.send(packet(initiationType, initiationSize, 1))
	stranger.send(packet(transportType, 64, 1))
	right.expectNothing()
	eventually(t, func() bool { return counters(r).Unfit >= 2 })
	right.send(packet(transportType, 64, 8))
	left.expect(packet(transportType, 64, 8))
}

func TestAnUnnamedEndIsWhoeverShakesHandsFirst(t *testing.T) {
	open := terms()
	open.Ends[0] = netip.Addr{}
	r, left, right := pair(t, open)
	shake(r, left, right)
	stranger := newEnd(t, "127.0.0.2", left.to)
	stranger.send(packet(initiationType, initiationSize, 1))
	right.expectNothing()
}

func TestForwardsNothingThatIsNotWireGuard(t *testing.T) {
	r, left, right := pair(t, terms())
	shake(r, left, right)
	for _, odd := range [][]byte{
		packet(transportType, 31, 0), packet(initiationType, 147, 0),
		packet(responseType, 93, 0), packet(cookieType, 65, 0), packet(5, 64, 0), packet(0x0104, 64, 0), {}, {4},
	} {
		left.send(odd)
	}
	right.expectNothing()
}

func TestForwardsPacketsOfTheFullSizeOfAnyMTU(t *testing.T) {
	r, left, right := pair(t, terms())
	shake(r, left, right)
	for _, size := range []int{1280 + 32, 1420 + 32, 1421 + 32} {
		left.send(packet(transportType, size, 7))
		right.expect(packet(transportType, size, 7))
	}
}

func TestStopsAtTheQuotaAndAtTheRate(t *testing.T) {
	little := terms()
	little.QuotaBytes = initiationSize + 100
	r, left, right := pair(t, little)
	shake(r, left, right)
	left.send(packet(transportType, 112, 1))
	right.expectNothing()
	left.send(packet(transportType, 96, 1))
	right.expect(packet(transportType, 96, 1))
	eventually(t, func() bool { return counters(r).Beyond == 1 })
	slow := terms()
	slow.RateBytes = 1000
	r, left, right = pair(t, slow)
	shake(r, left, right)
	for range 100 {
		left.send(packet(transportType, 512, 1))
	}
	right.expect(packet(transportType, 512, 1))
	eventually(t, func() bool { return counters(r).Beyond >= 90 })
}

func TestClosesWhatNobodyUses(t *testing.T) {
	short := terms()
	short.Idle = 200 * time.Millisecond
	r, _, _ := pair(t, short)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left := 0
		r.List(func(string, [2]uint16, Counters) { left++ })
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the session is still there")
		}
	}
}

func TestRequests(t *testing.T) {
	r := New(Ports{})
	t.Cleanup(r.CloseAll)
	ask := func(lines ...string) string {
		t.Helper()
		var answer strings.Builder
		if err := r.Handle(strings.NewReader(strings.Join(lines, "\n")+"\n\n"), &answer); err != nil {
			t.Fatal(err)
		}
		return answer.String()
	}
	good := []string{"open=a-b.1", "end=192.0.2.1", "end=any", "quota_bytes=10", "rate_bytes=10", "idle_seconds=60"}
	var ports [2]int
	if n, err := fmt.Sscanf(ask(good...), "port=%d\nport=%d\nerrno=0\n\n", &ports[0], &ports[1]); n != 2 || err != nil {
		t.Fatalf("%d %v", n, err)
	}
	if got, want := ask("get=1"), fmt.Sprintf("session=a-b.1\nport=%d\nport=%d\npackets=0\nbytes=0\nunfit=0\nbeyond=0\nerrno=0\n\n", ports[0], ports[1]); got != want {
		t.Fatalf("expected %q, got %q", want, got)
	}
	for _, row := range [][2]string{
		{strings.Join(good, "\n"), "errno=-17\n\n"},
		{"close=other", "errno=-2\n\n"},
		{"close=a-b.1", "errno=0\n\n"},
		{"get=2", "errno=-22\n\n"},
		{"open=a b\nend=any\nend=any", "errno=-22\n\n"},
		{"", "errno=-71\n\n"},
		{"open", "errno=-71\n\n"},
		{strings.Repeat("end=any\n", 40), "errno=-71\n\n"},
		{strings.Repeat("x", 10_000), "errno=-71\n\n"},
	} {
		if got := ask(row[0]); got != row[1] {
			t.Fatalf("%.40q: expected %q, got %q", row[0], row[1], got)
		}
	}
	for i := 1; i < len(good); i++ {
		lacking := append(append([]string{}, good[:i]...), good[i+1:]...)
		if got := ask(lacking...); got != "errno=-22\n\n" {
			t.Fatalf("without %s: got %q", good[i], got)
		}
	}
	for _, bad := range []string{"end=0.0.0.0", "end=224.0.0.1", "end=fe80::1%lo", "quota_bytes=0", "quota_bytes=-1", "idle_seconds=99999999", "end=192.0.2.3", "rate_bytes=10", "colour=red"} {
		if got := ask(append(append([]string{}, good...), bad)...); got != "errno=-22\n\n" {
			t.Fatalf("with %s: got %q", bad, got)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("open=a\nend=any\nend=any\nquota_bytes=1\nrate_bytes=1\nidle_seconds=1\n\n"))
	f.Add([]byte("get=1\n\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		r := New(Ports{})
		defer r.CloseAll()
		var answer strings.Builder
		if err := r.Handle(bytes.NewReader(request), &answer); err != nil || !strings.HasSuffix(answer.String(), "\n\n") {
			t.Fatalf("%v %q", err, answer.String())
		}
	})
}

func TestSessionsStayWithinTheirPorts(t *testing.T) {
	ports := Ports{First: 41_730, Last: 41_733}
	r := New(ports)
	defer r.CloseAll()
	taken := map[uint16]bool{}
	for _, name := range []string{"a", "b"} {
		pair, err := r.Open(name, Terms{QuotaBytes: 1, RateBytes: 1, Idle: time.Hour})
		if errors.Is(err, ErrTooMany) {
			t.Skip("another program has one of the ports")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, port := range pair {
			if port < ports.First || port > ports.Last || taken[port] {
				t.Fatalf("got port %d", port)
			}
			taken[port] = true
		}
	}
	if _, err := r.Open("c", Terms{QuotaBytes: 1, RateBytes: 1, Idle: time.Hour}); !errors.Is(err, ErrTooMany) {
		t.Fatalf("expected that all ports are taken, got %v", err)
	}
	if err := r.Close("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open("c", Terms{QuotaBytes: 1, RateBytes: 1, Idle: time.Hour}); err != nil {
		t.Fatal(err)
	}
}

package probes

import (
	"bufio"
	"encoding/hex"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"kelmesh/dataplane/bind"
)

type sent struct {
	mu sync.Mutex
	to []netip.AddrPort
}

func (s *sent) send(_ bind.ProbeToken, to netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, to)
	return nil
}

func begin(t *testing.T, send Sender) (*Probes, net.Conn, func() string) {
	t.Helper()
	p := New(send)
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "d.probes"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go p.Serve(listener)
	connection, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	reader := bufio.NewReader(connection)
	next := func() string {
		t.Helper()
		connection.SetReadDeadline(time.Now().Add(20 * time.Second))
		var block strings.Builder
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				return err.Error()
			}
			if line == "\n" {
				return block.String()
			}
			block.WriteString(line)
		}
	}
	if got := next(); got != "protocol=kelmesh-device-probes/1\n" {
		t.Fatalf("got %q", got)
	}
	return p, connection, next
}

func (p *Probes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.expected)
}

func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

var from = netip.MustParseAddrPort("198.51.100.7:4242")

func TestTellsWhatIsExpectedAndNothingElse(t *testing.T) {
	p, connection, next := begin(t, (&sent{}).send)
	token := bind.ProbeToken{1, 2, 3}
	name := hex.EncodeToString(token[:])
	p.Received(token, from)
	if _, err := connection.Write([]byte("expect=" + name + "\n\n")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the expectation", func() bool { return p.count() == 1 })
	p.Received(bind.ProbeToken{9}, from)
	for range 2 * maxTold {
		p.Received(token, from)
	}
	for range maxTold {
		if got := next(); got != "came="+name+"\nfrom=198.51.100.7:4242\n" {
			t.Fatalf("got %q", got)
		}
	}
	connection.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := connection.Read(make([]byte, 1)); err == nil {
		t.Fatalf("expected no more than %d tellings, got %d bytes", maxTold, n)
	}
	connection.Close()
	waitFor(t, "the expectation to go with its connection", func() bool { return p.count() == 0 })
}

func TestSendsWhereItIsTold(t *testing.T) {
	out := &sent{}
	_, connection, _ := begin(t, out.send)
	request := "probe=" + strings.Repeat("ab", 16) + "\nto=[2001:db8::1]:7\n\n"
	if _, err := connection.Write([]byte(request + request)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "two probes", func() bool {
		out.mu.Lock()
		defer out.mu.Unlock()
		return len(out.to) == 2 && out.to[1] == netip.MustParseAddrPort("[2001:db8::1]:7")
	})
}

func TestWhatCannotBeReadEndsTheConnection(t *testing.T) {
	token := strings.Repeat("ab", 16)
	for _, bad := range []string{
		"\n", "expect=\n\n", "expect=" + token[2:] + "\n\n", "expect=" + strings.ToUpper(token) + "\n\n",
		"probe=" + token + "\n\n", "probe=" + token + "\nto=there\n\n", "probe=" + token + "\nfrom=1.2.3.4:5\n\n",
		"other=" + token + "\n\n", "expect=" + token + "\nto=1.2.3.4:5\n\n", "a\nb\nc\n", strings.Repeat("x", 4096),
	} {
		_, connection, next := begin(t, (&sent{}).send)
		if _, err := connection.Write([]byte(bad)); err != nil {
			t.Fatal(err)
		}
		if got := next(); !strings.Contains(got, "EOF") && !strings.Contains(got, "reset") {
			t.Fatalf("%q: expected the end, got %q", bad, got)
		}
	}
}

func TestExpectationsAreBounded(t *testing.T) {
	p := New((&sent{}).send)
	news := make(chan string, 1)
	for i := range maxExpected + 100 {
		p.expect(bind.ProbeToken{byte(i), byte(i >> 8)}, news)
	}
	if p.count() != maxExpected {
		t.Fatalf("got %d", p.count())
	}
	// Whoever does not read misses news, and holds up nobody.
	for range maxTold {
		p.Received(bind.ProbeToken{1}, from)
	}
}

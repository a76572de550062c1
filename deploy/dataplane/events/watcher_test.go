package events

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

const secret = "5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5ec5"

// A scripted device, by the answers that a real one gives.
type scripted struct {
	mu       sync.Mutex
	endpoint string
	seconds  int
	asked    int
}

func (d *scripted) get(w *stateWriter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	_, err := fmt.Fprintf(w, "private_key=%s\nlisten_port=1\npublic_key=%064d\npreshared_key=%s\nprotocol_version=1\nendpoint=%s\nlast_handshake_time_sec=%d\nlast_handshake_time_nsec=0\ntx_bytes=1\n", secret, 1, secret, d.endpoint, d.seconds)
	return err
}

func (d *scripted) set(endpoint string, seconds int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.endpoint, d.seconds = endpoint, seconds
}

func message(kind byte, at int, index uint32) []byte {
	bytes := make([]byte, 148)
	bytes[0] = kind
	binary.LittleEndian.PutUint32(bytes[at:], index)
	return bytes
}

func receive(w *Watcher, message []byte, address string) {
	from := &conn.StdNetEndpoint{AddrPort: netip.MustParseAddrPort(address)}
	w.Received([][]byte{message}, []int{len(message)}, []conn.Endpoint{from})
}

func begin(t *testing.T, dev *scripted) (*Watcher, func() map[string]string) {
	t.Helper()
	w, next, _ := beginWith(t, dev, func(string) error { return nil })
	return w, next
}

func beginWith(t *testing.T, dev *scripted, handshake func(string) error) (*Watcher, func() map[string]string, net.Conn) {
	t.Helper()
	w := newWatcher(dev.get, handshake)
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go w.Run(done)
	path := filepath.Join(t.TempDir(), "d.events")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w.Serve(listener, done)
	connection, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	reader := bufio.NewReader(connection)
	next := func() map[string]string {
		t.Helper()
		connection.SetReadDeadline(time.Now().Add(20 * time.Second))
		fields := map[string]string{}
		for {
			line, err := reader.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(line, secret) {
				t.Fatal("a secret was told")
			}
			if line == "\n" {
				return fields
			}
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			fields[key] = value
		}
	}
	if got := next()["protocol"]; got != "kelmesh-device-events/1" {
		t.Fatalf("expected a greeting, got %q", got)
	}
	if got := next()["event"]; got != "state" {
		t.Fatalf("expected the state of the peer, got %q", got)
	}
	if got := next()["event"]; got != "ready" {
		t.Fatalf("expected ready, got %q", got)
	}
	return w, next, connection
}

func TestBeginsAHandshakeWithWhomItIsAskedFor(t *testing.T) {
	dev := &scripted{endpoint: "127.0.0.1:5"}
	asked := make(chan string, 8)
	_, _, connection := beginWith(t, dev, func(key string) error {
		if len(key) != 64 {
			return errors.New("no key")
		}
		asked <- key
		return nil
	})
	good := fmt.Sprintf("%064d", 1)
	fmt.Fprintf(connection, "handshake=%s\nhandshake=%s\n", good, good)
	for range 2 {
		if got := <-asked; got != good {
			t.Fatalf("got %q", got)
		}
	}
	for _, bad := range []string{"handshake=12\n", "\n", "get=1\n", "handshake=" + strings.Repeat("0", 200) + "\n"} {
		path := connection.RemoteAddr().String()
		other, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(other, bad)
		other.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, other); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Fatalf("%q: expected the connection to end, got %v", bad, err)
		}
		other.Close()
	}
	if len(asked) > 0 {
		t.Fatalf("got %q", <-asked)
	}
}

func TestTellsAHandshakeThatThisEndBegan(t *testing.T) {
	dev := &scripted{endpoint: "127.0.0.1:5"}
	w, next := begin(t, dev)
	w.Sent([][]byte{message(device.MessageInitiationType, 4, 77)})
	dev.set("127.0.0.1:5", 1_700_000_000)
	receive(w, message(device.MessageResponseType, 8, 77), "127.0.0.1:5")
	if got := next(); got["event"] != "handshake" || got["last_handshake_time_sec"] != "1700000000" || got["endpoint"] != "127.0.0.1:5" {
		t.Fatalf("got %v", got)
	}
}

func TestTellsAHandshakeThatTheOtherEndBeganAndAMove(t *testing.T) {
	dev := &scripted{endpoint: "127.0.0.1:5"}
	w, next := begin(t, dev)
	w.Sent([][]byte{message(device.MessageResponseType, 4, 78)})
	dev.set("127.0.0.1:5", 1_700_000_001)
	receive(w, message(device.MessageTransportType, 4, 78), "127.0.0.1:5")
	if got := next(); got["event"] != "handshake" {
		t.Fatalf("got %v", got)
	}
	dev.set("[::1]:6", 1_700_000_001)
	receive(w, message(device.MessageTransportType, 4, 78), "[::1]:6")
	if got := next(); got["event"] != "endpoint" || got["endpoint"] != "[::1]:6" {
		t.Fatalf("got %v", got)
	}
}

func TestPacketsOfStrangersAndOfAQuietSessionCauseNoLook(t *testing.T) {
	dev := &scripted{endpoint: "127.0.0.1:5"}
	w, _ := begin(t, dev)
	w.Sent([][]byte{message(device.MessageResponseType, 4, 79)})
	receive(w, message(device.MessageTransportType, 4, 79), "127.0.0.1:5")
	time.Sleep(20 * pause)
	dev.mu.Lock()
	before := dev.asked
	dev.mu.Unlock()
	for i := range 10_000 {
		receive(w, message(device.MessageTransportType, 4, 79), "127.0.0.1:5")
		receive(w, message(device.MessageTransportType, 4, uint32(1_000_000+i)), "192.0.2.1:9")
		receive(w, message(device.MessageResponseType, 8, uint32(1_000_000+i)), "192.0.2.1:9")
	}
	time.Sleep(4 * pause)
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.asked != before {
		t.Fatalf("expected no look, got %d", dev.asked-before)
	}
}

func TestForgedPacketsOfAKnownSessionHaveAPause(t *testing.T) {
	dev := &scripted{endpoint: "127.0.0.1:5"}
	w, _ := begin(t, dev)
	w.Sent([][]byte{message(device.MessageResponseType, 4, 80)})
	started := time.Now()
	for time.Since(started) < time.Second {
		receive(w, message(device.MessageTransportType, 4, 80), "192.0.2.1:1")
		receive(w, message(device.MessageTransportType, 4, 80), "192.0.2.1:2")
	}
	rounds := int(time.Since(started)/pause) + 1
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.asked > rounds*looks+2 {
		t.Fatalf("expected at most %d looks, got %d", rounds*looks+2, dev.asked)
	}
}

func TestASubscriberThatDoesNotReadIsToldThatItMissedSomething(t *testing.T) {
	s := newSink()
	for range maxWaiting/64 + 100 {
		s.put(make([]byte, 64))
	}
	if text := s.take(); len(text) > maxWaiting+64 || !strings.HasSuffix(string(text), "event=overflow\n\n") {
		t.Fatalf("expected an overflow at the end of at most %d bytes, got %d", maxWaiting, len(text))
	}
	s.put([]byte("event=ready\n\n"))
	if text := string(s.take()); text != "event=ready\n\n" {
		t.Fatalf("got %q", text)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	w := newWatcher(func(*stateWriter) error { return nil }, func(string) error { return nil })
	for i := range uint32(maxSessions + 1000) {
		w.expect(i, false)
	}
	if len(w.sessions) > maxSessions {
		t.Fatalf("got %d sessions", len(w.sessions))
	}
}

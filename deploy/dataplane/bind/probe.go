package bind

import (
	"encoding/hex"
	"errors"
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// ProbeToken is what a probe carries: secret until it is sent, and good for one purpose.
type ProbeToken [16]byte

// probeMark begins a probe. Its first byte is no type of a WireGuard message, so that a device without this drops it.
const probeMark = "\xc4KMPROBE"

// ProbeSize is that of a datagram: mark and token.
const ProbeSize = len(probeMark) + len(ProbeToken{})

var errProbeTarget = errors.New("expected an address and a port to which a probe can go")

// ParseProbeToken reads 32 lower-case hexadecimal digits.
func ParseProbeToken(text string) (ProbeToken, bool) {
	var token ProbeToken
	if len(text) != hex.EncodedLen(len(token)) {
		return token, false
	}
	_, err := hex.Decode(token[:], []byte(text))
	return token, err == nil && hex.EncodeToString(token[:]) == text
}

// SendProbe sends a probe from the very sockets of the device: it opens, and shows, the mapping that the device's packets have.
// It passes no codec.
func (b *Bind) SendProbe(token ProbeToken, to netip.AddrPort) error {
	address := to.Addr().Unmap()
	if !address.IsValid() || address.IsUnspecified() || address.IsMulticast() || to.Port() == 0 {
		return errProbeTarget
	}
	datagram := append([]byte(probeMark), token[:]...)
	return b.StdNetBind.Send([][]byte{datagram}, &conn.StdNetEndpoint{AddrPort: netip.AddrPortFrom(address, to.Port())})
}

// takeProbe tells whether datagram is a probe, and shows it to whoever waits for probes.
func (b *Bind) takeProbe(datagram []byte, from conn.Endpoint) bool {
	if len(datagram) != ProbeSize || string(datagram[:len(probeMark)]) != probeMark {
		return false
	}
	if endpoint, isStandard := from.(*conn.StdNetEndpoint); isStandard && b.Probed != nil {
		address := endpoint.Addr().Unmap().WithZone("")
		b.Probed(ProbeToken(datagram[len(probeMark):]), netip.AddrPortFrom(address, endpoint.Port()))
	}
	return true
}

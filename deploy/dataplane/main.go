// kelmesh-dataplane is WireGuard in user space, with wireguard-go as its library: the same arguments, environment and
// UAPI as the program of that name, and beside them events of handshakes and endpoints on a socket of their own
// (/var/run/wireguard/NAME.events), probes from its own sockets (NAME.probes), and, as `kelmesh-dataplane relay SOCKET`, a relay of
// ciphertext.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
)

const module = "golang.zx2c4.com/wireguard"

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	switch {
	case len(args) == 1 && args[0] == "--version":
		fmt.Printf("kelmesh-dataplane %s\n\nWireGuard in user space, with events and a relay.\n", version())
		return 0
	case len(args) == 2 && (args[0] == "-f" || args[0] == "--foreground"):
		return runDevice(args[1])
	case (len(args) == 2 || len(args) == 4) && args[0] == "relay":
		return runRelay(args[1], args[2:])
	}
	fmt.Fprintf(os.Stderr, "usage: kelmesh-dataplane -f INTERFACE | relay SOCKET [FIRST-PORT LAST-PORT] | --version\n")
	return 2
}

// version is that of the library, which decides how packets are treated.
func version() string {
	info, isKnown := debug.ReadBuildInfo()
	if isKnown {
		for _, dependency := range info.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "v0"
}

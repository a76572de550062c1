package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxLines = 16
	maxLine  = 256
	maxIdle  = 24 * time.Hour
)

// Handle answers one request, in lines of key=value that end with an empty line, as UAPI has them. The first line is
// open=NAME, close=NAME or get=1; the last line of the answer is errno=0 or a negative error number.
//
//	open=NAME     end=ADDRESS (twice; "any" where it is not known) quota_bytes=N rate_bytes=N idle_seconds=N
//	              answers port=N twice, in the order of the ends
//	close=NAME
//	get=1         answers session=NAME, port=N twice, packets=N, bytes=N, unfit=N, beyond=N for each session
func (r *Relay) Handle(request io.Reader, answer io.Writer) error {
	lines, err := read(request)
	if err == nil {
		err = r.answer(lines, answer)
	}
	number := unix.Errno(0)
	if err != nil && !errors.As(err, &number) {
		number = unix.EIO
	}
	_, err = fmt.Fprintf(answer, "errno=%d\n\n", -int(number))
	return err
}

type line struct{ key, value string }

func read(request io.Reader) ([]line, error) {
	scanner := bufio.NewScanner(io.LimitReader(request, maxLines*maxLine))
	scanner.Buffer(make([]byte, 0, maxLine), maxLine)
	var lines []line
	for scanner.Scan() {
		text := scanner.Text()
		if text == "" {
			return lines, nil
		}
		key, value, isPair := strings.Cut(text, "=")
		if !isPair || len(lines) >= maxLines {
			return nil, unix.EPROTO
		}
		lines = append(lines, line{key, value})
	}
	return nil, unix.EPROTO
}

func (r *Relay) answer(lines []line, answer io.Writer) error {
	if len(lines) == 0 {
		return unix.EPROTO
	}
	verb, rest := lines[0], lines[1:]
	switch {
	case verb.key == "open":
		return r.answerOpen(verb.value, rest, answer)
	case verb.key == "close" && len(rest) == 0:
		if err := r.Close(verb.value); err != nil {
			return unix.ENOENT
		}
		return nil
	case verb == line{"get", "1"} && len(rest) == 0:
		r.List(func(name string, ports [2]uint16, done Counters) {
			fmt.Fprintf(answer, "session=%s\nport=%d\nport=%d\npackets=%d\nbytes=%d\nunfit=%d\nbeyond=%d\n",
				name, ports[0], ports[1], done.Packets, done.Bytes, done.Unfit, done.Beyond)
		})
		return nil
	}
	return unix.EINVAL
}

func (r *Relay) answerOpen(name string, lines []line, answer io.Writer) error {
	terms, err := termsOf(lines)
	if err != nil || !isName(name) {
		return unix.EINVAL
	}
	ports, err := r.Open(name, terms)
	switch {
	case errors.Is(err, ErrRepeated):
		return unix.EEXIST
	case errors.Is(err, ErrTooMany):
		return unix.ENOSPC
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(answer, "port=%d\nport=%d\n", ports[0], ports[1])
	return err
}

// isName allows what a file name or a log line may hold.
func isName(name string) bool {
	if name == "" || len(name) > 128 {
		return false
	}
	for _, letter := range name {
		isPlain := letter == '-' || letter == '_' || letter == '.' ||
			('0' <= letter && letter <= '9') || ('A' <= letter && letter <= 'Z') || ('a' <= letter && letter <= 'z')
		if !isPlain {
			return false
		}
	}
	return true
}

func termsOf(lines []line) (Terms, error) {
	var terms Terms
	ends := 0
	given := make(map[string]bool)
	for _, line := range lines {
		if line.key == "end" {
			if ends == len(terms.Ends) {
				return Terms{}, unix.EINVAL
			}
			if line.value != "any" {
				address, err := netip.ParseAddr(line.value)
				if err != nil || address.Zone() != "" || address.IsUnspecified() || address.IsMulticast() {
					return Terms{}, unix.EINVAL
				}
				terms.Ends[ends] = address
			}
			ends++
			continue
		}
		number, err := strconv.ParseUint(line.value, 10, 63)
		if err != nil || number == 0 || given[line.key] {
			return Terms{}, unix.EINVAL
		}
		given[line.key] = true
		switch line.key {
		case "quota_bytes":
			terms.QuotaBytes = number
		case "rate_bytes":
			terms.RateBytes = number
		case "idle_seconds":
			if number > uint64(maxIdle/time.Second) {
				return Terms{}, unix.EINVAL
			}
			terms.Idle = time.Duration(number) * time.Second
		default:
			return Terms{}, unix.EINVAL
		}
	}
	if ends != len(terms.Ends) || len(given) != 3 {
		return Terms{}, unix.EINVAL
	}
	return terms, nil
}

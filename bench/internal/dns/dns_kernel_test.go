package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
)

// TestKernelNames looks names up over real sockets on loopback.
func TestKernelNames(t *testing.T) {
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Serve(packets, listener, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server := packets.LocalAddr().(*net.UDPAddr).AddrPort()
	r, err := NewResolver(Options{Server: server, Policy: vocabulary.DNSCacheNone,
		Timeout: 10 * time.Second, Source: netip.MustParseAddr("127.9.9.9")})
	if err != nil {
		t.Fatal(err)
	}

	if _, err := r.Lookup(t.Context(), web); !errors.Is(err, ErrNoSuchName) {
		t.Errorf("before the name is set: %v, want %v", err, ErrNoSuchName)
	}
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := descriptors()
	for i := range 100 { // each Set takes effect at once
		addr := fmt.Sprintf("198.18.1.%d", i)
		set(t, s, web, 30*time.Second, addr)
		a := lookUp(t, r, web)
		if len(a.Addrs) != 1 || a.Addrs[0].String() != addr || a.TTL != 30*time.Second ||
			a.Took <= 0 {
			t.Fatalf("%+v, want %s", a, addr)
		}
	}
	if after := descriptors(); after > before+10 {
		t.Errorf("%d open descriptors after 100 lookups, %d before", after, before)
	}
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("198.18.2.%d", i))
	}
	set(t, s, web, 0, many...)
	if a := lookUp(t, r, web); len(a.Addrs) != 200 {
		t.Errorf("%d addresses over TCP, want 200", len(a.Addrs))
	}

	// An open, idle connection does not delay Close.
	idle, err := net.Dial("tcp4", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	begin := time.Now()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(begin); took > closeLimit/2 {
		t.Errorf("close took %v, want at most %v", took, closeLimit/2)
	}
	if _, err := r.Lookup(t.Context(), web); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after Close: %v, want ECONNREFUSED", err)
	}
}

// TestKernelSilence checks how long a lookup waits for a socket that never answers.
func TestKernelSilence(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r, err := NewResolver(Options{Server: silent.LocalAddr().(*net.UDPAddr).AddrPort(),
		Policy: vocabulary.DNSCacheTTL, Timeout: 20 * time.Millisecond, Tries: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Lookup(t.Context(), web)
	var failed *LookupError
	if !errors.Is(err, ErrTimeout) || !errors.As(err, &failed) || failed.Tries != 3 ||
		failed.Took < 60*time.Millisecond {
		t.Errorf("%v, want three tries of 20 ms", err)
	}
}

// TestKernelServeFails checks that Serve fails if one of its sockets is closed, and closes the
// other one.
func TestKernelServeFails(t *testing.T) {
	packets, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := packets.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := Serve(packets, listener, 1); err == nil {
		t.Errorf("no error for a closed socket; close: %v", s.Close())
	}
	if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

package witness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/testkit"
	"reuseport-bench/servers/wire"
)

// With the arguments childFaulty and an address, the test binary runs as a server with faults.
const childFaulty = "faulty"

// A fault is what the faulty server does with a connection. It depends on the connection's number,
// which the client's port encodes.
type fault int

const (
	faultReset    fault = iota // reads the request, and resets the connection
	faultUnread                // closes when the request has arrived, without reading it
	faultHeld                  // reads the request, and does nothing more
	faultCutOff                // sends a part of the answer, and closes
	faultPartRead              // reads a part of the request, and closes
	noFault
)

// each is the number of connections with each fault. The connections after those have no fault.
const each = 137

func faultOf(number int) fault { return min(fault(number/each), noFault) }

var (
	faultRequest  = request(0, false)
	faultResponse = string(wire.AppendResponse(nil, 0, 0, wire.Close))
)

const cutAt, partRead = 20, 9

// faultyServer serves at an address until EOF on its input.
func faultyServer(address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			go func() {
				if err := serveFaulty(c.(*net.TCPConn)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
			}()
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func serveFaulty(c *net.TCPConn) error {
	f := faultOf(c.RemoteAddr().(*net.TCPAddr).Port - firstPort)
	if f == faultUnread || f == faultPartRead {
		if err := awaitUnread(c, len(faultRequest)); err != nil {
			return err
		}
	}
	read, answer := len(faultRequest), ""
	switch f {
	case faultUnread:
		read = 0
	case faultPartRead:
		read = partRead
	case faultReset:
		if err := c.SetLinger(0); err != nil {
			return err
		}
	case faultCutOff:
		answer = faultResponse[:cutAt]
	case noFault:
		answer = faultResponse
	}
	if _, err := io.ReadFull(c, make([]byte, read)); err != nil {
		return err
	}
	if f == faultHeld {
		select {}
	}
	_, err := io.WriteString(c, answer)
	return errors.Join(err, c.Close())
}

// awaitUnread returns when n bytes wait to be read.
func awaitUnread(c *net.TCPConn, n int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for unread := 0; unread < n; time.Sleep(time.Millisecond) {
		var ioctlErr error
		err := raw.Control(func(fd uintptr) {
			unread, ioctlErr = unix.IoctlGetInt(int(fd), unix.SIOCINQ) // tcp(7)
		})
		if err := errors.Join(err, ioctlErr); err != nil {
			return err
		}
	}
	return nil
}

// startFaulty starts the faulty server at an address and returns its PID.
func startFaulty(t *testing.T, at netip.AddrPort) int {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", childFaulty, at.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// A fate is a witness's report about a connection, reduced to what the test compares.
type fate struct {
	way                    Way
	progress               Progress
	read, unread, sent     uint64
	readByServer, byServer bool // compared only as root
	timesInside            bool // compared only as root
}

// TestKernelFaults runs a server that does five things to exactly 137 requests each: it resets,
// closes unread, holds, cuts off, or reads only in part. The witness must report exactly that.
func TestKernelFaults(t *testing.T) {
	if inLabs(t) {
		return
	}
	linkUp(t)
	root := os.Getenv(inLab) == "root"
	const served = 500
	n := each*int(noFault) + served
	at := freePort(t)
	pid := startFaulty(t, at)
	w, err := Start(Options{
		Do: do, Port: at.Port(), Families: []int{unix.AF_INET}, Connections: n, Rate: 10_000,
		Types: kernelTypes,
	})
	if err != nil {
		t.Fatal(err)
	}
	cs := &clients{target: at, timeout: 30 * time.Second, habits: []habit{{"one request",
		func(c *client, conn *net.TCPConn, _ *rand.Rand) {
			c.send(conn, faultRequest)
			if faultOf(c.number) == faultHeld {
				_ = conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
				c.keep = true
			}
			c.await(conn)
		}}}}
	cs.run(n, 24, 0)
	seen, err := w.Stop()
	for _, c := range cs.all {
		c.close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if (seen.Untraced == "") != root {
		t.Fatalf("untraced: %v", seen.Untraced)
	}
	got := map[fate]int{}
	for i := range seen.Ends {
		e := &seen.Ends[i]
		e.Complete(ClientEnd{Sent: uint64(len(faultRequest))})
		progress, _ := e.Progress(Request{End: uint64(len(faultRequest))})
		f := fate{
			way: e.Way, progress: progress, read: e.Read(), unread: e.Unread, sent: e.Sent,
			readByServer: e.Reader == pid, byServer: e.Closer == pid,
			timesInside: e.Born != 0,
		}
		got[f]++
	}
	whole := uint64(len(faultRequest))
	want := map[fate]int{}
	add := func(n int, f fate, read, closed bool) {
		if root {
			f.readByServer, f.byServer, f.timesInside = read, closed, true
		}
		want[f] = n
	}
	if root {
		add(each, fate{way: Aborted, progress: ReadWhole, read: whole}, true, true)
	} else {
		add(each, fate{way: Reset}, false, false)
	}
	add(each, fate{way: ClosedUnread, progress: Unread, unread: whole}, false, true)
	add(each, fate{way: StillOpen, progress: ReadWhole, read: whole}, true, false)
	add(each, fate{way: Closed, progress: Answering, read: whole, sent: cutAt}, true, true)
	add(each, fate{way: ClosedUnread, progress: PartRead, read: partRead, unread: whole - partRead},
		true, true)
	all := uint64(len(faultResponse))
	add(served, fate{way: Closed, progress: Answering, read: whole, sent: all}, true, true)
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(fate{})); diff != "" {
		t.Errorf("connections by fate (-got +want):\n%s", diff)
	}
	for _, e := range seen.Equations() {
		if e.Residual() != 0 {
			t.Errorf("%s: kernel %d, witness %d", e.Name, e.Kernel, e.Seen)
		}
	}
}

// If tracing fails, for whatever reason, a witness uses obituaries and keeps the reason.
func TestKernelTraceFails(t *testing.T) {
	testkit.RequireRoot(t)
	reason, calls := errors.New("no trace today"), 0
	w, err := Start(Options{
		Do: func(f func() error) error {
			if calls++; calls == 1 {
				return reason
			}
			return f()
		},
		Port: freePort(t).Port(), Families: []int{unix.AF_INET}, Types: kernelTypes,
	})
	if err != nil {
		t.Fatal(err)
	}
	seen, err := w.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if seen.Untraced != reason.Error() {
		t.Errorf("untraced: %q, want %q", seen.Untraced, reason)
	}
}

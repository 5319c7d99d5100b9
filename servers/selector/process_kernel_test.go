package selector

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

var returnPass = asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()} // SK_PASS

// childWorker, as the first argument, makes the test binary run as a worker. The second argument is
// its slot.
const childWorker = "worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childWorker {
		if err := work(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// work runs a worker process: an event loop that answers every connection with the worker's slot
// and closes it. It prints "ready" when it has joined, and returns when its standard input is
// closed.
func work(argument string) error {
	slot, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	listener, err := tcpSocket(unix.IPPROTO_TCP)
	if err != nil {
		return err
	}
	if err := listen(listener); err != nil {
		return err
	}
	m, err := Join([]int{3, 4, 5}, slot, listener)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	polled := []unix.PollFd{
		{Fd: 0, Events: unix.POLLIN},
		{Fd: int32(listener), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(polled, int(m.Beat().Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		now, err := monotonic()
		if err != nil {
			return err
		}
		m.Turn(now)
		if polled[0].Revents != 0 {
			return m.Close()
		}
		conn, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			m.Idle()
			continue
		} else if err != nil {
			return err
		}
		m.Accepted()
		m.Begin()
		_, err = unix.Write(conn, []byte{byte(slot)})
		m.Done()
		if err := errors.Join(err, unix.Close(conn)); err != nil {
			return err
		}
	}
}

// process is the parent's side of a worker process.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
}

// start starts a worker in the group's network and returns when it has joined.
func (g *testGroup) start(slot int) *process {
	g.t.Helper()
	p := &process{cmd: exec.Command("/proc/self/exe", childWorker, strconv.Itoa(slot))}
	p.cmd.ExtraFiles = g.selector.Files()
	p.cmd.Stderr = &p.stderr
	// The kernel sends the signal when the network's thread ends, but that thread outlives the
	// worker.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	g.run(func() { err = p.cmd.Start() })
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		g.t.Fatalf("worker %d: %v: %s", slot, err, p.stderr.String())
	}
	return p
}

// ask makes a connection. It returns the slot that answers within the limit, or -1, and the client.
func (g *testGroup) ask(limit time.Duration) (slot, client int) {
	g.t.Helper()
	client = g.connect(g.t)
	g.t.Cleanup(func() { unix.Close(client) })
	return g.answer(client, limit), client
}

func (g *testGroup) answer(client int, limit time.Duration) int {
	g.t.Helper()
	if readable(g.t, limit, client) < 0 {
		return -1
	}
	var b [1]byte
	if n, err := unix.Read(client, b[:]); n != 1 {
		g.t.Fatalf("read %d bytes, want 1, error %v", n, err)
	}
	return int(b[0])
}

// state returns the state letter in /proc/PID/stat (proc_pid_stat(5)).
func (p *process) state(t *testing.T) byte {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return stat[bytes.LastIndexByte(stat, ')')+2]
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestKernelProcesses stops, continues and kills one of two worker processes.
func TestKernelProcesses(t *testing.T) {
	g := newTestGroup(t, Config{Kind: LeastLoaded, Slots: 2, Stuck: 40 * time.Millisecond}, 0)
	workers := []*process{g.start(0), g.start(1)}
	g.add(0, 1)
	g.add(1, 1)
	ask := func(n int, limit time.Duration) (served [2]int, unanswered []int) {
		for range n {
			slot, client := g.ask(limit)
			if slot < 0 {
				unanswered = append(unanswered, client)
			} else {
				served[slot]++
			}
		}
		return served, unanswered
	}
	if served, left := ask(40, patience); len(left) > 0 || served[0] == 0 || served[1] == 0 {
		t.Fatalf("both run: served %v, %d unanswered", served, len(left))
	}

	workers[0].signal(t, unix.SIGSTOP)
	for end := time.Now().Add(patience); workers[0].state(t) != 'T'; {
		if time.Now().After(end) {
			t.Fatal("the worker did not stop")
		}
	}
	served, left := ask(40, time.Second)
	if len(left) > 1 || served[1] < 39 { // the kernel's hash would lose about 20
		t.Errorf("stopped: served %v, %d unanswered; want at most 1", served, len(left))
	}

	workers[0].signal(t, unix.SIGCONT)
	for end := time.Now().Add(patience); ; {
		if now := g.selector.Stats().Slots[0]; now.Waiting+now.InFlight == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the worker does not continue after SIGCONT: %+v", now)
		}
	}
	for _, client := range left {
		if got := g.answer(client, patience); got != 0 {
			t.Errorf("connection that waited: got slot %d, want 0", got)
		}
	}
	if served, left := ask(40, patience); len(left) > 0 || served[0] == 0 {
		t.Errorf("continued: served %v, %d unanswered", served, len(left))
	}

	workers[0].signal(t, unix.SIGKILL)
	workers[0].cmd.Wait()
	if served, left := ask(20, patience); len(left) > 0 || served[1] != 20 {
		t.Errorf("killed: served %v, %d unanswered; want all by the other", served, len(left))
	}
	if got := g.selector.Stats(); got.Stale == 0 || got.AllGone+got.NobodyListed != 0 {
		t.Errorf("got %+v, want stale entries and no fallback", got)
	}

	successor := g.start(0)
	if served, left := ask(40, patience); len(left) > 0 || served[0] == 0 {
		t.Errorf("with a successor: served %v, %d unanswered", served, len(left))
	}
	successor.stdin.Close()
	if err := successor.cmd.Wait(); err != nil {
		t.Errorf("the successor's exit: %v: %s", err, successor.stderr.String())
	}
}

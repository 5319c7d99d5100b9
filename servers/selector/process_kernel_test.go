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

// childWorker, as the first argument, makes the test binary a worker; the second is its slot.
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

// work is a worker process: an epoll loop that answers every connection with its slot and closes
// it. It says when it is ready, and ends with its standard input.
func work(argument string) error {
	slot, err := strconv.Atoi(argument)
	if err != nil {
		return err
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
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
	polled := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}, {Fd: int32(listener), Events: unix.POLLIN}}
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

// start starts a worker in the rig's network, and returns when it has joined.
func (r *rig) start(slot int) *process {
	r.t.Helper()
	p := &process{cmd: exec.Command("/proc/self/exe", childWorker, strconv.Itoa(slot))}
	p.cmd.ExtraFiles = r.selector.Files()
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL} // of the network's thread, which outlives it
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	r.run(func() { err = p.cmd.Start() })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		r.t.Fatalf("worker %d: %v: %s", slot, err, p.stderr.String())
	}
	return p
}

// ask makes a connection and returns the slot that answers within limit, or -1, and the client.
func (r *rig) ask(limit time.Duration) (slot, client int) {
	r.t.Helper()
	client = r.connect(r.t)
	r.t.Cleanup(func() { unix.Close(client) })
	return r.answer(client, limit), client
}

func (r *rig) answer(client int, limit time.Duration) int {
	r.t.Helper()
	if readable(r.t, limit, client) < 0 {
		return -1
	}
	var b [1]byte
	if n, err := unix.Read(client, b[:]); n != 1 {
		r.t.Fatalf("read: %d, %v", n, err)
	}
	return int(b[0])
}

// state is the letter in /proc/PID/stat (proc_pid_stat(5)).
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

// Real workers: one is stopped, goes on, and is killed.
func TestKernelProcesses(t *testing.T) {
	r := newRig(t, Config{Kind: LeastLoaded, Slots: 2, Stuck: 40 * time.Millisecond}, 0)
	workers := []*process{r.start(0), r.start(1)}
	r.add(0, 1)
	r.add(1, 1)
	ask := func(n int, limit time.Duration) (served [2]int, unanswered []int) {
		for range n {
			slot, client := r.ask(limit)
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
	served, left := ask(40, 200*time.Millisecond)
	if len(left) > 1 || served[1] < 39 { // the hash would lose about 20
		t.Errorf("one is stopped: served %v, %d unanswered; want at most 1", served, len(left))
	}

	workers[0].signal(t, unix.SIGCONT)
	for end := time.Now().Add(patience); ; {
		if now := r.selector.Stats().Slots[0]; now.Waiting+now.InFlight == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("the worker does not go on: %+v", now)
		}
	}
	for _, client := range left {
		if got := r.answer(client, patience); got != 0 {
			t.Errorf("the one that waited: got slot %d, want 0", got)
		}
	}
	if served, left := ask(40, patience); len(left) > 0 || served[0] == 0 {
		t.Errorf("it goes on: served %v, %d unanswered", served, len(left))
	}

	workers[0].signal(t, unix.SIGKILL)
	workers[0].cmd.Wait()
	if served, left := ask(20, patience); len(left) > 0 || served[1] != 20 {
		t.Errorf("it is dead: served %v, %d unanswered; want all by the other", served, len(left))
	}
	if got := r.selector.Stats(); got.Stale == 0 || got.AllGone+got.NobodyListed != 0 {
		t.Errorf("got %+v, want stale entries and no fallback", got)
	}

	successor := r.start(0)
	if served, left := ask(40, patience); len(left) > 0 || served[0] == 0 {
		t.Errorf("a successor: served %v, %d unanswered", served, len(left))
	}
	successor.stdin.Close()
	if err := successor.cmd.Wait(); err != nil {
		t.Errorf("its end: %v: %s", err, successor.stderr.String())
	}
}

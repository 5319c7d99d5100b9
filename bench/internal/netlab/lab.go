package netlab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/child"
)

// Options configures a Lab.
type Options struct {
	// Network defaults to NetworkLoopback.
	Network vocabulary.Network
	// ReceiveCPUs are the CPUs that process received packets: with NetworkVeth at the servers' end
	// of the pair, with NetworkCluster on the nodes. A hash of each flow chooses the CPU, as it
	// chooses a queue of a network card (receive packet steering,
	// Documentation/networking/scaling.rst). If ReceiveCPUs is empty, the CPU that sends a packet,
	// which is the load's, processes it.
	ReceiveCPUs []int
	// Delay, with NetworkVeth, determines the time by which packets between the hosts are delayed.
	// The zero value means no delay.
	Delay Delay
	// Control, with NetworkCluster, adds a host for a control plane: see Lab.Control.
	Control bool
	// Init makes the command that runs Init as the lab's PID 1. Required.
	Init func() *exec.Cmd
}

// A Lab is a private network and the processes in it. Close ends both. Its methods may be called by
// several goroutines. The calls run one after the other on the lab's thread.
type Lab struct {
	calls   chan func()
	closing chan struct{} // closed to end the thread
	done    chan struct{} // closed when the thread has ended

	init    *child.Process
	pids    *os.File // descriptor of the PID namespace
	hosts   []*Host  // all hosts, including pods
	servers *Host
	clients *Host      // equal to servers in a loopback lab
	tun     []*os.File // see TUN

	nodes   []*node // the nodes of a cluster lab
	control *Host   // nil without Options.Control
	pods    map[netip.Addr]*Pod
}

// A Host is one network namespace of a lab.
type Host struct {
	Name string
	ns   *os.File
	// pids is the PID namespace of the processes that Start starts on the host, or nil: the lab's.
	pids *os.File
}

// Inode returns the inode of the host's network namespace, which identifies it in the kernel's
// traces.
func (h *Host) Inode() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(h.ns.Fd()), &st); err != nil {
		return 0, fmt.Errorf("network namespace %s: %w", h.Name, err)
	}
	return uint32(st.Ino), nil
}

// Path returns a path to the host's network namespace. A process of the lab can enter the namespace
// by that path (setns(2)). The path is valid until the lab removes the host or is closed.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), h.ns.Fd()) }

// initLimit is the maximum time that the lab's init may take to start, and to exit.
const initLimit = 5 * time.Second

// New makes a lab. Its network has no route to the outside. New needs CAP_SYS_ADMIN and
// CAP_NET_ADMIN in the current user namespace: see Enter. The caller closes the lab.
func New(ctx context.Context, o Options) (*Lab, error) {
	l := &Lab{calls: make(chan func()), closing: make(chan struct{}), done: make(chan struct{})}
	go l.thread()
	err := l.call(func() error { return l.setup(ctx, o) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lab: %w", err), l.Close())
	}
	return l, nil
}

// thread runs the lab's calls. It never unlocks its OS thread, so the runtime ends that thread
// together with the goroutine, and no other goroutine can run in a namespace that the thread has
// entered.
func (l *Lab) thread() {
	runtime.LockOSThread()
	defer close(l.done)
	for {
		select {
		case f := <-l.calls:
			f()
		case <-l.closing:
			return
		}
	}
}

func (l *Lab) call(f func() error) error {
	result := make(chan error, 1)
	select {
	case l.calls <- func() { result <- f() }:
		return <-result
	case <-l.done:
		return errors.New("the lab is closed")
	}
}

func (l *Lab) setup(ctx context.Context, o Options) error {
	// Children inherit the timer slack. Its default of 50 µs, half of a typical service time, would
	// be added to every wait of the schedule (prctl(2), PR_SET_TIMERSLACK).
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_TIMERSLACK: %w", err)
	}
	var err error
	if l.servers, err = l.addHost("servers"); err != nil {
		return err
	}
	l.clients = l.servers
	switch o.Network {
	case vocabulary.NetworkVeth:
		if err := steerReceived(o.ReceiveCPUs); err != nil {
			return err
		}
		if err := l.addClients(o.Delay); err != nil {
			return err
		}
	case vocabulary.NetworkCluster:
		if err := l.setupCluster(o); err != nil {
			return err
		}
	}
	if err := l.addSources(cmp.Or(o.Network, vocabulary.NetworkLoopback)); err != nil {
		return err
	}
	return l.startInit(ctx, o.Init())
}

// addHost makes a network namespace with only lo, and moves the lab's thread into it.
func (l *Lab) addHost(name string) (*Host, error) {
	if err := newNamespace(); err != nil {
		return nil, fmt.Errorf("network namespace %s: %w; see 'doctor'", name, err)
	}
	ns, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, ns: ns}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// dropHost closes the lab's descriptor of a namespace. The kernel removes the namespace when its
// last process exits.
func (l *Lab) dropHost(h *Host) error {
	l.hosts = slices.DeleteFunc(l.hosts, func(other *Host) bool { return other == h })
	err := h.ns.Close()
	if h.pids != nil {
		err = errors.Join(err, h.pids.Close())
	}
	return err
}

// startInit starts PID 1 of a new PID namespace. Children that the thread starts later begin in
// that namespace.
func (l *Lab) startInit(ctx context.Context, cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: unix.SIGKILL, Setsid: true, Cloneflags: unix.CLONE_NEWPID,
	}
	init, err := child.Start(child.Options{Command: cmd, Control: true, Events: true})
	if err != nil {
		return fmt.Errorf("PID namespace: %w; see 'doctor'", err)
	}
	l.init = init
	ctx, cancel := context.WithTimeout(ctx, initLimit)
	defer cancel()
	if err := init.AwaitReady(ctx); err != nil {
		return fmt.Errorf("lab init: %w", err)
	}
	if l.pids, err = os.Open(filepath.Join("/proc", fmt.Sprint(init.PID()), "ns/pid")); err != nil {
		return fmt.Errorf("lab init: %w", err)
	}
	if err := unix.Setns(int(l.pids.Fd()), unix.CLONE_NEWPID); err != nil {
		return fmt.Errorf("lab init: enter its PID namespace: %w", err)
	}
	return nil
}

// Init runs the lab's PID 1: it reports that it is ready, reaps orphans, and returns when it reads
// EOF from its control pipe.
func Init() error {
	// If SIGCHLD were ignored, the kernel would reap orphans without adding their CPU time to that
	// of init's children (getrusage(2), NOTES).
	exits := make(chan os.Signal, 1)
	signal.Notify(exits, unix.SIGCHLD)
	go func() {
		for range exits {
			reapOrphans()
		}
	}()
	if _, err := os.NewFile(child.EventsFD, "events").Write([]byte{'r'}); err != nil {
		return fmt.Errorf("lab init: %w", err)
	}
	_, err := io.Copy(io.Discard, os.NewFile(child.ControlFD, "control"))
	return err
}

// reapOrphans waits for every child that has exited.
func reapOrphans() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// InitPID returns the number of the lab's PID 1 in the caller's PID namespace. When that process
// has exited, every process of the lab has.
func (l *Lab) InitPID() int { return l.init.PID() }

// PIDNamespace returns the inode of the lab's PID namespace, which identifies it in the kernel's
// traces.
func (l *Lab) PIDNamespace() (uint32, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(l.pids.Fd()), &st); err != nil {
		return 0, fmt.Errorf("PID namespace: %w", err)
	}
	return uint32(st.Ino), nil
}

// Servers returns the host of the workers; in a cluster, node A.
func (l *Lab) Servers() *Host { return l.servers }

// Clients returns the load's host. In a loopback lab it is the same host as Servers.
func (l *Lab) Clients() *Host { return l.clients }

// Hosts returns all hosts of the lab except pods and Control, each once.
func (l *Lab) Hosts() []*Host {
	if l.clients == l.servers {
		return []*Host{l.servers}
	}
	if len(l.nodes) == 2 {
		return []*Host{l.servers, l.clients, l.nodes[1].host}
	}
	return []*Host{l.servers, l.clients}
}

// enter moves the lab's thread into a host's network namespace.
func (l *Lab) enter(h *Host) error {
	if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", h.Name, err)
	}
	return nil
}

// Do runs f on the lab's thread, inside the host's network namespace. f must not call methods of
// the lab.
func (l *Lab) Do(h *Host, f func() error) error {
	return l.call(func() error {
		if err := l.enter(h); err != nil {
			return err
		}
		return f()
	})
}

// Start starts cmd inside the lab on the given CPUs, or on all CPUs if none are given. cmd gets its
// own session, so that a Ctrl-C in the terminal does not reach it. Start replaces cmd.SysProcAttr
// but keeps its Credential and Cloneflags, so that the command may run as another user or in
// namespaces of its own. The caller waits for the command.
func (l *Lab) Start(h *Host, cmd *exec.Cmd, cpus []int) error {
	// Pdeathsig is not needed: the death of the lab's init kills everything in its PID namespace.
	// Pdeathsig would not work either: os/exec compares the child's getppid(2) with its own PID to
	// see whether the parent is alive, and getppid returns 0 if the parent is outside the child's
	// PID namespace.
	attr := &syscall.SysProcAttr{Setsid: true}
	if cmd.SysProcAttr != nil {
		attr.Credential = cmd.SysProcAttr.Credential
		attr.Cloneflags = cmd.SysProcAttr.Cloneflags
	}
	cmd.SysProcAttr = attr
	return l.Do(h, func() (err error) {
		if h.pids != nil {
			if err := unix.Setns(int(h.pids.Fd()), unix.CLONE_NEWPID); err != nil {
				return fmt.Errorf("PID namespace of %s: %w", h.Name, err)
			}
			defer func() {
				err = errors.Join(err, unix.Setns(int(l.pids.Fd()), unix.CLONE_NEWPID))
			}()
		}
		if len(cpus) > 0 {
			var before, set unix.CPUSet
			if err := unix.SchedGetaffinity(0, &before); err != nil {
				return fmt.Errorf("sched_getaffinity: %w", err)
			}
			for _, c := range cpus {
				set.Set(c)
			}
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				return fmt.Errorf("CPUs %v: %w", cpus, err)
			}
			defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &before)) }()
		}
		return cmd.Start()
	})
}

// SetSysctl writes a sysctl of the host's network namespace, such as "net.ipv4.tcp_migrate_req". It
// accepts only names in net.*, because only those belong to a network namespace.
func (l *Lab) SetSysctl(h *Host, name, value string) error {
	if err := l.Do(h, func() error { return WriteSysctl(name, value) }); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// Sysctl reads a sysctl of the host's network namespace.
func (l *Lab) Sysctl(h *Host, name string) (value string, err error) {
	path, err := sysctlPath(name)
	if err != nil {
		return "", err
	}
	err = l.Do(h, func() error {
		b, err := os.ReadFile(path)
		value = strings.Join(strings.Fields(string(b)), " ")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("sysctl %s in %s: %w", name, h.Name, err)
	}
	return value, nil
}

// Close kills everything in the lab, waits until it is gone, and ends the lab's thread. A caller
// that started processes must wait for them while Close runs; otherwise the kernel keeps the
// namespace. Further calls do nothing.
func (l *Lab) Close() error {
	select {
	case <-l.done:
		return nil
	default:
	}
	var errs []error
	if l.init != nil {
		errs = append(errs, l.endInit())
	}
	close(l.closing)
	<-l.done
	if l.pids != nil {
		errs = append(errs, l.pids.Close())
	}
	for _, file := range l.tun {
		errs = append(errs, file.Close())
	}
	for _, h := range l.hosts {
		errs = append(errs, h.ns.Close())
	}
	return errors.Join(errs...)
}

func (l *Lab) endInit() error {
	ctx, cancel := context.WithTimeout(context.Background(), initLimit)
	defer cancel()
	if err := l.init.Kill(); err != nil {
		return fmt.Errorf("lab init: %w", err)
	}
	if err := l.init.Wait(ctx); err != nil && ctx.Err() != nil {
		return errors.New("lab init: a process of the lab does not end: " +
			"the code that started it must wait for it")
	}
	if err := l.init.Close(); err != nil {
		return fmt.Errorf("lab init: %w", err)
	}
	return nil
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("link %s up: %w", name, err)
	}
	return nil
}

// Starter returns a function that starts processes on a host. A process runs on the CPUs given to
// that function or, if none are given, on the CPUs in all.
func (l *Lab) Starter(h *Host, all []int) func(*exec.Cmd, []int) error {
	return func(c *exec.Cmd, cpus []int) error {
		if len(cpus) == 0 {
			cpus = all
		}
		return l.Start(h, c, cpus)
	}
}

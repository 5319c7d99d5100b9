package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/loopback"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/sys"
)

// bpfLicence is the licence of the programs below. The kernel offers some tracing helpers only to
// programs with a GPL-compatible licence.
const bpfLicence = "Dual MIT/GPL"

// returning returns a program that only returns value.
func returning(value int32) asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, value), asm.Return()}
}

// load loads a program without attaching it. The caller must close it.
func load(spec *ebpf.ProgramSpec) (*ebpf.Program, error) {
	spec.License = bpfLicence
	return ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogDisabled: true})
}

// refusedBPF returns the result of a probe for which bpf(2) returned err.
func refusedBPF(what string, err error) Result {
	if !errors.Is(err, unix.EPERM) {
		return no(what+": "+err.Error(), "")
	}
	if missing := sys.MissingForBPF(); len(missing) > 0 {
		hint := "run as root, or grant what is missing"
		switch {
		case !sys.InInitialUserNamespace():
			hint = "run as root outside a user namespace; a rootless container is in one"
		case os.Geteuid() == 0:
			hint = netlab.RootHint
		}
		return no(what+": needs "+strings.Join(missing, ", "), hint)
	}
	return no(what+": refused although every capability is held: "+err.Error(),
		"a seccomp filter or a security module forbids it; before Linux 5.11 also a low limit: "+
			"ulimit -l unlimited")
}

// probeBPF loads two minimal programs: one of the oldest program type, and one of the type of
// selectors.
func probeBPF() Result {
	for _, kind := range []ebpf.ProgramType{ebpf.SocketFilter, ebpf.SkReuseport} {
		program, err := load(&ebpf.ProgramSpec{Type: kind, Instructions: returning(1)})
		if err != nil {
			return refusedBPF("load a program of type "+kind.String(), err)
		}
		program.Close()
	}
	return yes("loaded programs of types %s and %s", ebpf.SocketFilter, ebpf.SkReuseport)
}

func probeBPFJIT() Result {
	program, err := load(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, Instructions: returning(1)})
	if err != nil {
		r := refusedBPF("load a program to see", err)
		r.Status = Unknown
		return r
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return unknown("program info: "+err.Error(), "")
	}
	if size, err := info.JitedSize(); err != nil || size == 0 {
		return no("programs are interpreted", "sysctl net.core.bpf_jit_enable=1")
	}
	return yes("programs are compiled")
}

// probeBTF looks for the magic number of Documentation/bpf/btf.rst, in this machine's byte order.
func probeBTF() Result {
	const path, magic = "/sys/kernel/btf/vmlinux", 0xeB9F
	file, err := os.Open(path)
	if err != nil {
		return no(err.Error(), "use a kernel built with CONFIG_DEBUG_INFO_BTF")
	}
	defer file.Close()
	var head [2]byte
	if _, err := file.Read(head[:]); err != nil {
		return no(path+": "+err.Error(), "")
	}
	if got := binary.NativeEndian.Uint16(head[:]); got != magic {
		return no(fmt.Sprintf("%s opens with %#x, not %#x", path, got, magic), "")
	}
	return yes("%s", path)
}

// sockArray returns the specification of the map from index to socket from which a selector picks.
func sockArray(size uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{Type: ebpf.ReusePortSockArray, KeySize: 4, ValueSize: 8, MaxEntries: size}
}

func probeSockArray() Result { return probeMap(sockArray(2)) }

func probeRingBuffer() Result {
	return probeMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
}

func probeMap(spec *ebpf.MapSpec) Result {
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return refusedBPF("make a map of type "+spec.Type.String(), err)
	}
	m.Close()
	return yes("made a map of type %s", spec.Type)
}

// migratingSK is the offset of migrating_sk in struct sk_reuseport_md (include/uapi/linux/bpf.h).
const migratingSK = 48

// selectProgram returns a program that picks the socket at index pick of the map for new
// connections. For connections that migrate because their socket is being closed, it picks the
// socket at index heir; the kernel calls it for these only with attach type
// AttachSkReuseportSelectOrMigrate. If it cannot pick a socket, it drops the connection, because
// the kernel's fallback to the hash could look like success.
func selectProgram(sockets *ebpf.Map, pick, heir int32, attach ebpf.AttachType) *ebpf.ProgramSpec {
	const key = -4 // offset of the map key on the stack
	code := asm.Instructions{asm.StoreImm(asm.RFP, key, int64(pick), asm.Word)}
	if attach == ebpf.AttachSkReuseportSelectOrMigrate {
		code = append(code,
			asm.LoadMem(asm.R2, asm.R1, migratingSK, asm.DWord),
			asm.JEq.Imm(asm.R2, 0, "select"),
			asm.StoreImm(asm.RFP, key, int64(heir), asm.Word),
		)
	}
	code = append(code,
		asm.LoadMapPtr(asm.R2, sockets.FD()).WithSymbol("select"),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, key),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkSelectReuseport.Call(), // (context in R1, map, key, flags) → 0 or an error
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Imm(asm.R0, 0), // SK_DROP
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"), // SK_PASS
		asm.Return(),
	)
	return &ebpf.ProgramSpec{Type: ebpf.SkReuseport, AttachType: attach, Instructions: code}
}

// withSelector loads selectProgram with a map of n sockets. Then it makes a private network with a
// group of n listeners, attaches the program to the group, and calls f. If both would fail, the
// error is that of loading the program, which says more than that of making the network.
func withSelector(
	n int, pick, heir int32, attach ebpf.AttachType, f func(*loopback.Sockets, []int) Result,
) Result {
	sockets, err := ebpf.NewMap(sockArray(uint32(n)))
	if err != nil {
		return refusedBPF("make a map of sockets", err)
	}
	defer sockets.Close()
	program, err := load(selectProgram(sockets, pick, heir, attach))
	if err != nil {
		return refusedBPF("load the selector", err)
	}
	defer program.Close()

	var result Result
	err = netlab.Private(func() error {
		var s loopback.Sockets
		defer s.Close()
		listeners, err := group(&s, n, sockets, program)
		if err != nil {
			result = no(err.Error(), "")
		} else {
			result = f(&s, listeners)
		}
		return nil
	})
	if err != nil {
		return noNetwork(err)
	}
	return result
}

// group makes n listeners, puts each into the map at its index, and attaches the program to the
// group.
func group(s *loopback.Sockets, n int, sockets *ebpf.Map, program *ebpf.Program) ([]int, error) {
	listeners := make([]int, n)
	for i := range listeners {
		listener, err := s.Listen()
		if err != nil {
			return nil, err
		}
		// The kernel accepts only listening sockets in the map.
		if err := sockets.Put(uint32(i), uint64(listener)); err != nil {
			return nil, fmt.Errorf("socket %d into the map: %w", i, err)
		}
		listeners[i] = listener
	}
	err := unix.SetsockoptInt(
		listeners[0], unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program.FD())
	if err != nil {
		return nil, fmt.Errorf("SO_ATTACH_REUSEPORT_EBPF: %w", err)
	}
	return listeners, nil
}

func probeSKReuseport() Result {
	const chosen, n = 1, 16 // by chance, the hash sends all n there once in 2^16
	const went = "%d of %d connections went to the socket that the program chose"
	test := func(s *loopback.Sockets, listeners []int) Result {
		if _, err := s.Connect(n, s.Address); err != nil {
			return no(err.Error(), "")
		}
		accepted, err := s.Accept(n, listeners...)
		if err != nil {
			return unknown(err.Error(), "")
		}
		if got := len(accepted[chosen]); got != n {
			return no(fmt.Sprintf(went, got, n), "")
		}
		return yes(went, n, n)
	}
	return withSelector(2, chosen, chosen, ebpf.AttachNone, test)
}

// probeSKMigrate queues connections at socket 0 and closes it. It expects the program to move all
// of them to socket 2. Without the program the kernel would distribute them among the other sockets
// or reset them.
func probeSKMigrate() Result {
	const old, heir = 0, 2
	test := func(s *loopback.Sockets, listeners []int) Result {
		// Turn the sysctl off, so that only the program can move the connections.
		if err := os.WriteFile(migrateSysctl, []byte("0"), 0); err != nil {
			return unknown(err.Error(), "see "+NetSysctl)
		}
		clients, err := s.Queue(queuedForProbe, listeners[old])
		if err != nil {
			return no(err.Error(), "")
		}
		return judgeMigration(closeAndWatch(s, listeners[old], listeners[heir], clients))
	}
	return withSelector(3, old, heir, ebpf.AttachSkReuseportSelectOrMigrate, test)
}

func probeTraceSendReset() Result {
	return probeTracepoint("tcp_send_reset", 2, "the reset's reason")
}

func probeTraceKfreeSKB() Result { return probeTracepoint("kfree_skb", 2, "the drop's reason") }

func probeTraceSockState() Result { return probeTracepoint("inet_sock_set_state", 0, "") }

// probeTracepoint loads a program that reads one argument of the tracepoint, counted from 0. If
// older kernels do not pass this argument, extra describes it. The verifier rejects access to a
// missing argument, so probeTracepoint then tries again with argument 0, which distinguishes a
// missing argument from a missing tracepoint.
func probeTracepoint(name string, argument int16, extra string) Result {
	err := loadTracing(ebpf.AttachTraceRawTp, name, argument)
	if err == nil && extra != "" {
		return yes("loaded, with %s", extra)
	}
	if err != nil && extra != "" && !errors.Is(err, unix.EPERM) &&
		loadTracing(ebpf.AttachTraceRawTp, name, 0) == nil {
		return yes("loaded, but without %s: this kernel does not pass it", extra)
	}
	return judgeTracing("tracepoint "+name, err)
}

func probeTraceIterTCP() Result {
	return judgeTracing("iterator over TCP sockets", loadTracing(ebpf.AttachTraceIter, "tcp", 0))
}

func loadTracing(attach ebpf.AttachType, target string, argument int16) error {
	read := asm.Instructions{asm.LoadMem(asm.R2, asm.R1, 8*argument, asm.DWord)}
	program, err := load(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: attach, AttachTo: target,
		Instructions: append(read, returning(0)...),
	})
	if err != nil {
		return err
	}
	return program.Close()
}

func judgeTracing(what string, err error) Result {
	switch {
	case err == nil:
		return yes("loaded")
	case errors.Is(err, btf.ErrNotFound):
		return no("this kernel has no "+what, "")
	case kernel.LacksTracing(err):
		return no(what+": "+err.Error(),
			"use a kernel built with CONFIG_DEBUG_INFO_BTF (see "+BTF+")")
	}
	return refusedBPF(what, err)
}

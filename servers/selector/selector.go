package selector

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// Kind is the rule by which the program chooses a worker for a connection.
type Kind string

// The kinds of selector.
const (
	RoundRobin  Kind = "round-robin"
	Weighted    Kind = "weighted"
	LeastLoaded Kind = "least-loaded"
	// ByHash uses the kernel's own rule, restricted to the listed workers.
	ByHash Kind = "hash"
	// Empty makes no selection, so the kernel's hash chooses among all listeners. Every other kind
	// costs at least as much as Empty.
	Empty Kind = "empty"
)

// Limits of Config.Slots and of weights. The product of both must fit in the 20 bits that the
// program weighted has for the sum of the weights.
const (
	MaxSlots  = 1024
	MaxWeight = 1024
)

// Defaults of Config.
const (
	defaultStuck      = 50 * time.Millisecond
	defaultQueueLimit = 64
	defaultDecay      = time.Second
)

// Config describes a selector.
type Config struct {
	Kind  Kind
	Slots int // maximum number of workers alive at once, 1 to MaxSlots
	// Migrate makes the program also choose which listener takes over the accept queue and the
	// handshakes in progress of a closed listener (Linux 5.14). Without it, the kernel resets all
	// of these connections, unless net.ipv4.tcp_migrate_req is set.
	Migrate bool
	Seed    uint64 // of the random draws of Weighted, and of LeastLoaded with more than 16 workers

	// Stuck, with LeastLoaded, is the time for which the loop of a worker may fail to turn while
	// connections wait in its queue, before the worker is avoided. Zero means 50 ms. The program
	// reads the clock of the last timer tick, so it notices a stuck worker up to one tick late (1
	// to 10 ms).
	Stuck time.Duration
	// QueueLimit, with LeastLoaded, is the number of waiting connections at which a worker is
	// avoided. Zero means 64.
	QueueLimit int
	// Decay, with LeastLoaded, is the time for which the loop of a worker may turn without
	// accepting anything, although connections seem to wait in its queue. Then half of these
	// connections are written off. Zero means 1 s.
	Decay time.Duration
}

// check sets the defaults and returns all mistakes in one error.
func (c *Config) check() error {
	var errs []error
	if _, known := programNames[c.Kind]; !known {
		errs = append(errs, fmt.Errorf("unknown kind %q", c.Kind))
	}
	if c.Slots < 1 || c.Slots > MaxSlots {
		errs = append(errs, fmt.Errorf("%d slots: must be 1 to %d", c.Slots, MaxSlots))
	}
	if c.Stuck < 0 || c.QueueLimit < 0 || c.Decay < 0 {
		errs = append(errs, fmt.Errorf("stuck %v, queue limit %d, decay %v: none may be negative",
			c.Stuck, c.QueueLimit, c.Decay))
	}
	if c.Stuck == 0 {
		c.Stuck = defaultStuck
	}
	if c.QueueLimit == 0 {
		c.QueueLimit = defaultQueueLimit
	}
	if c.Decay == 0 {
		c.Decay = defaultDecay
	}
	return errors.Join(errs...)
}

// programNames are the names of the programs in selector.c.
var programNames = map[Kind]string{
	RoundRobin:  selectorProgRoundRobin,
	Weighted:    selectorProgWeighted,
	LeastLoaded: selectorProgLeastLoaded,
	ByHash:      selectorProgByHash,
	Empty:       selectorProgEmpty,
}

// stateMap is the compiler's name for the map of zero-initialized global variables.
const stateMap = ".bss"

// A Selector is the parent's side. Its methods may be called from several goroutines.
type Selector struct {
	kind    Kind
	slots   int
	program *ebpf.Program
	files   []*os.File

	mu     sync.Mutex // guards the fields below, and the parent's part of state
	memory []byte     // nil once closed
	state  *selectorState
	listed []listing
}

// listing is a slot that may be chosen.
type listing struct {
	slot   int
	weight uint32
}

// New loads the program and makes its maps. It needs CAP_BPF and CAP_PERFMON in the initial user
// namespace, or CAP_SYS_ADMIN; otherwise it returns an error that names the missing capabilities
// and wraps unix.EPERM. No slot is listed yet. The caller closes the selector.
func New(cfg Config) (*Selector, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("selector: %w", err)
	}
	if err := permitted(sys.MissingForBPF()); err != nil {
		return nil, fmt.Errorf("selector %s: %w", cfg.Kind, err)
	}
	s, err := load(cfg)
	if err != nil {
		return nil, fmt.Errorf("selector %s: %w", cfg.Kind, explain(err))
	}
	s.state.DecayNs = uint64(cfg.Decay)
	if cfg.Kind == LeastLoaded {
		s.state.BeatNs = uint64(cfg.Stuck / 2)
	}
	return s, nil
}

// load makes the selector's kernel objects. After an error none of them is left.
func load(cfg Config) (*Selector, error) {
	spec, err := loadSelector()
	if err != nil {
		return nil, err
	}
	name := programNames[cfg.Kind]
	spec.Programs = map[string]*ebpf.ProgramSpec{name: spec.Programs[name]}
	if cfg.Migrate {
		// The attach type that lets the program migrate (BPF_PROG_TYPE_SK_REUSEPORT in
		// bpf_prog_load_check_attach).
		spec.Programs[name].AttachType = ebpf.AttachSkReuseportSelectOrMigrate
	}
	spec.Maps[selectorMapSockets].MaxEntries = uint32(cfg.Slots)
	for name, value := range map[string]any{
		selectorVarSeed:       cfg.Seed,
		selectorVarStuckNs:    int64(cfg.Stuck),
		selectorVarQueueLimit: int64(cfg.QueueLimit),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, err
		}
	}
	objects, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	defer objects.Close() // closes the program, which is detached, but not the maps in s.files
	s := &Selector{kind: cfg.Kind, slots: cfg.Slots, program: objects.DetachProgram(name)}
	for _, o := range []struct {
		name string
		fd   int
	}{
		{"program", s.program.FD()},
		{"sockets", objects.Maps[selectorMapSockets].FD()},
		{"state", objects.Maps[stateMap].FD()},
	} {
		fd, err := duplicate(o.fd)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.files = append(s.files, os.NewFile(uintptr(fd), "selector-"+o.name))
	}
	if s.memory, s.state, err = mapState(objects.Maps[stateMap].FD()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// duplicate returns a close-on-exec duplicate of a descriptor.
func duplicate(fd int) (int, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate descriptor %d: %w", fd, err)
	}
	return d, nil
}

// mapState maps the shared state. The kernel has rounded the size of its map up to whole pages.
func mapState(fd int) ([]byte, *selectorState, error) {
	page := os.Getpagesize()
	size := (int(unsafe.Sizeof(selectorState{})) + page - 1) / page * page
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map the shared state: %w", err)
	}
	return memory, (*selectorState)(unsafe.Pointer(&memory[0])), nil
}

// Files returns the files that a worker must inherit, in the order of Join's fds: program, sockets,
// shared state. The selector owns and closes them.
func (s *Selector) Files() []*os.File { return slices.Clone(s.files) }

// Add lists a slot: from then on the program may choose it. The slot's worker must have joined and
// be ready to accept. Only Weighted uses the weight, 1 to MaxWeight. It is an error if the slot is
// out of range or already listed.
func (s *Selector) Add(slot int, weight uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSlot(slot); err != nil {
		return fmt.Errorf("selector: add: %w", err)
	}
	if weight < 1 || weight > MaxWeight {
		return fmt.Errorf("selector: add slot %d: weight %d: must be 1 to %d",
			slot, weight, MaxWeight)
	}
	if s.position(slot) >= 0 {
		return fmt.Errorf("selector: add slot %d: it is already listed", slot)
	}
	s.listed = append(s.listed, listing{slot, weight})
	s.publish()
	return nil
}

// SetWeight sets the weight of a slot, 1 to MaxWeight. It is an error if the slot is not listed.
func (s *Selector) SetWeight(slot int, weight uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSlot(slot); err != nil {
		return fmt.Errorf("selector: weight: %w", err)
	}
	i := s.position(slot)
	if i < 0 || weight < 1 || weight > MaxWeight {
		return fmt.Errorf("selector: weight %d of slot %d: must be 1 to %d, of a listed slot",
			weight, slot, MaxWeight)
	}
	s.listed[i].weight = weight
	s.publish()
	return nil
}

// Remove takes a slot off the list, if it is listed, because its worker drains or has died. New
// connections no longer go to that worker, with two exceptions. A selection in progress at that
// instant, which takes well under a microsecond, may still choose the slot. So may the kernel's
// hash, if the selector finds no other slot.
func (s *Selector) Remove(slot int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSlot(slot); err != nil {
		return fmt.Errorf("selector: remove: %w", err)
	}
	if i := s.position(slot); i >= 0 {
		s.listed = slices.Delete(s.listed, i, i+1)
		s.publish()
	}
	return nil
}

func (s *Selector) checkSlot(slot int) error {
	if s.memory == nil {
		return fmt.Errorf("slot %d: %w", slot, os.ErrClosed)
	}
	if slot < 0 || slot >= s.slots {
		return fmt.Errorf("slot %d: must be 0 to %d", slot, s.slots-1)
	}
	return nil
}

func (s *Selector) position(slot int) int {
	return slices.IndexFunc(s.listed, func(l listing) bool { return l.slot == slot })
}

// publish writes the list that is not in use, then makes the programs use it.
func (s *Selector) publish() {
	next := s.state.Current ^ 1
	list := &s.state.Lists[next]
	list.Count, list.Total = uint32(len(s.listed)), 0
	for i, l := range s.listed {
		list.Total += l.weight
		list.Slot[i], list.Upto[i] = uint32(l.slot), list.Total
	}
	atomic.StoreUint32(&s.state.Current, next)
}

// Stats are counts since New. They are read one by one while the program runs, so they may not
// agree exactly.
type Stats struct {
	Selected     uint64 // connections that the program gave to a worker
	NobodyListed uint64 // connections left to the kernel's hash because no slot is listed
	AllGone      uint64 // connections left to the kernel's hash because no tried slot had a socket
	// Overloaded counts the connections, part of Selected, that went to a worker to be avoided
	// because all workers were to be avoided.
	Overloaded uint64
	Stale      uint64 // listed slots tried in which there was no socket
	// Strays counts segments that neither open a connection nor belong to one: those that arrive
	// after a reset, or ACKs to SYN cookies. No other field counts them.
	Strays uint64
	Slots  []SlotStats // by slot, Config.Slots of them
}

// SlotStats describes one slot. Assigned and Accepted include all workers that have ever held it.
type SlotStats struct {
	Assigned uint64 // number of connections assigned
	Accepted uint64 // number of connections that the workers report as accepted
	Waiting  int64  // estimate of connections assigned and not yet accepted
	InFlight int64  // number of requests or connections that the worker reports
}

// Stats returns the current counts, or zero once the selector is closed.
func (s *Selector) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memory == nil {
		return Stats{}
	}
	stats := Stats{
		NobodyListed: atomic.LoadUint64(&s.state.Nobody),
		AllGone:      atomic.LoadUint64(&s.state.Gone),
		Overloaded:   atomic.LoadUint64(&s.state.Overloaded),
		Stale:        atomic.LoadUint64(&s.state.Stale),
		Strays:       atomic.LoadUint64(&s.state.Strays),
		Slots:        make([]SlotStats, s.slots),
	}
	for i := range stats.Slots {
		slot := (*selectorSlot)(&s.state.Slots[i])
		stats.Slots[i] = SlotStats{
			Assigned: atomic.LoadUint64(&slot.Assigned),
			Accepted: atomic.LoadUint64(&slot.Accepted),
			Waiting:  max(slot.waiting(), 0),
			InFlight: atomic.LoadInt64(&slot.InFlight),
		}
		stats.Selected += stats.Slots[i].Assigned
	}
	return stats
}

// Cost returns the number of times that the program ran, and the total time that these runs took.
// The kernel counts runs only while a result of EnableCost is open. The time includes the kernel's
// two clock readings per run.
func (s *Selector) Cost() (runs uint64, total time.Duration, err error) {
	stats, err := s.program.Stats()
	if err != nil {
		return 0, 0, fmt.Errorf("selector: cost: %w", err)
	}
	return stats.RunCount, stats.Runtime, nil
}

// EnableCost makes the kernel count and time every BPF program of the machine until the caller
// closes the result: BPF_ENABLE_STATS in bpf(2), Linux 5.8. Unlike the sysctl
// kernel.bpf_stats_enabled, this ends when the process exits, at the latest. It needs
// CAP_SYS_ADMIN.
func EnableCost() (io.Closer, error) {
	c, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("selector: time BPF programs: %w", err)
	}
	return c, nil
}

// Close releases the parent's descriptors and memory. The program stays attached to the group, and
// listed slots stay listed, until the last listener is closed. Further calls do nothing.
func (s *Selector) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.memory != nil {
		errs = append(errs, unix.Munmap(s.memory))
		s.memory, s.state = nil, nil
	}
	for _, f := range s.files {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, s.program.Close())...)
}

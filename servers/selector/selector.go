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

// Kind is the rule by which a connection gets its worker.
type Kind string

// The kinds of selector.
const (
	RoundRobin  Kind = "round-robin"
	Weighted    Kind = "weighted"
	LeastLoaded Kind = "least-loaded"
	// ByHash is as the kernel's own rule, but among the listed.
	ByHash Kind = "hash"
	// Empty is a stand-in that chooses nobody, so that the kernel's hash does, among all who
	// listen. What it costs, every kind costs.
	Empty Kind = "empty"
)

// Limits of Config.Slots and of the weight that Add takes. Their product must fit the 20 bits that
// the program weighted leaves to it.
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
	Slots int // most workers alive at once, 1 to MaxSlots
	// Migrate has the program choose also who gets what waits at a listener that is closed: its
	// queue, and the handshakes that are under way there (Linux 5.14). Without, both are reset, but
	// for net.ipv4.tcp_migrate_req.
	Migrate bool
	Seed    uint64 // of what Weighted, and LeastLoaded with more than 16 workers, draw

	// Stuck, with LeastLoaded: a worker is avoided when something waits there and its loop has not
	// turned for longer than this. Zero means 50 ms. The program reads the clock of the last timer
	// tick, so that it notices up to a tick late (1 to 10 ms).
	Stuck time.Duration
	// QueueLimit, with LeastLoaded: a worker at which so many connections wait is avoided. Zero
	// means 64.
	QueueLimit int
	// Decay, with LeastLoaded: at a worker that turns, and for so long accepts nothing although
	// something seems to wait there, half of that is taken for never to come. Zero means 1 s.
	Decay time.Duration
}

// check fills in the defaults and returns every mistake at once.
func (c *Config) check() error {
	var errs []error
	if _, known := programNames[c.Kind]; !known {
		errs = append(errs, fmt.Errorf("unknown kind %q", c.Kind))
	}
	if c.Slots < 1 || c.Slots > MaxSlots {
		errs = append(errs, fmt.Errorf("%d slots: must be 1 to %d", c.Slots, MaxSlots))
	}
	if c.Stuck < 0 || c.QueueLimit < 0 || c.Decay < 0 {
		errs = append(errs, fmt.Errorf("stuck %v, queue limit %d, decay %v: none may be negative", c.Stuck, c.QueueLimit, c.Decay))
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

// programNames are the functions of selector.c.
var programNames = map[Kind]string{
	RoundRobin:  selectorProgRoundRobin,
	Weighted:    selectorProgWeighted,
	LeastLoaded: selectorProgLeastLoaded,
	ByHash:      selectorProgByHash,
	Empty:       selectorProgEmpty,
}

// stateMap is the name that the compiler gives the map of global variables that start as zero.
const stateMap = ".bss"

// A Selector is the parent's side. Its methods may be called from several goroutines.
type Selector struct {
	kind    Kind
	slots   int
	program *ebpf.Program
	files   []*os.File

	mu     sync.Mutex // guards what follows, and the parent's part of state
	memory []byte     // nil once closed
	state  *selectorState
	listed []listing
}

// listing is a slot that may be chosen.
type listing struct {
	slot   int
	weight uint32
}

// New loads the program and makes its maps. It takes CAP_BPF and CAP_PERFMON in the initial user
// namespace, or CAP_SYS_ADMIN; without, the error says what is missing and is unix.EPERM. Nobody is
// listed yet. The caller closes it.
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

// load makes everything in the kernel, and nothing if it fails.
func load(cfg Config) (*Selector, error) {
	spec, err := loadSelector()
	if err != nil {
		return nil, err
	}
	name := programNames[cfg.Kind]
	spec.Programs = map[string]*ebpf.ProgramSpec{name: spec.Programs[name]}
	if cfg.Migrate {
		// The verifier's other name for the same kind of program (BPF_PROG_TYPE_SK_REUSEPORT in
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
	defer objects.Close() // all but the program: files keep the maps
	s := &Selector{kind: cfg.Kind, slots: cfg.Slots, program: objects.DetachProgram(name)}
	for _, o := range []struct {
		name string
		fd   int
	}{{"program", s.program.FD()}, {"sockets", objects.Maps[selectorMapSockets].FD()}, {"state", objects.Maps[stateMap].FD()}} {
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

// duplicate makes another descriptor, which a child does not inherit by accident.
func duplicate(fd int) (int, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate descriptor %d: %w", fd, err)
	}
	return d, nil
}

// mapState maps the state, whose map the kernel has rounded up to whole pages.
func mapState(fd int) ([]byte, *selectorState, error) {
	page := os.Getpagesize()
	size := (int(unsafe.Sizeof(selectorState{})) + page - 1) / page * page
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map the shared state: %w", err)
	}
	return memory, (*selectorState)(unsafe.Pointer(&memory[0])), nil
}

// Files are what a worker must inherit, in the order that Join wants their descriptors: program,
// sockets, shared state. They belong to the selector, which closes them.
func (s *Selector) Files() []*os.File { return slices.Clone(s.files) }

// Add lists a slot: from now on it may be chosen. Its worker has joined and is ready to accept. The
// weight, 1 to MaxWeight, matters to Weighted only. A slot that is out of range or listed already
// is an error.
func (s *Selector) Add(slot int, weight uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSlot(slot); err != nil {
		return fmt.Errorf("selector: add: %w", err)
	}
	if weight < 1 || weight > MaxWeight {
		return fmt.Errorf("selector: add slot %d: weight %d: must be 1 to %d", slot, weight, MaxWeight)
	}
	if s.position(slot) >= 0 {
		return fmt.Errorf("selector: add slot %d: it is listed already", slot)
	}
	s.listed = append(s.listed, listing{slot, weight})
	s.publish()
	return nil
}

// SetWeight changes the weight of a slot, 1 to MaxWeight. A slot that is not listed is an error.
func (s *Selector) SetWeight(slot int, weight uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.checkSlot(slot); err != nil {
		return fmt.Errorf("selector: weight: %w", err)
	}
	i := s.position(slot)
	if i < 0 || weight < 1 || weight > MaxWeight {
		return fmt.Errorf("selector: weight %d of slot %d: must be 1 to %d, of a listed slot", weight, slot, MaxWeight)
	}
	s.listed[i].weight = weight
	s.publish()
	return nil
}

// Remove takes a slot off the list, if it is there: no connection that comes from now on goes
// there, to drain it or because its worker is dead. A selection under way at this very instant,
// well under a microsecond, may still choose it, and so may the kernel's hash once the selector
// finds nobody else.
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

// publish writes the list that no program is using, and then has them use it.
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

// Stats are counts since New. They are read one after the other while the program runs.
type Stats struct {
	Selected     uint64 // connections that the program gave to a worker
	NobodyListed uint64 // connections left to the kernel's hash because no slot is listed
	AllGone      uint64 // connections left to the kernel's hash because every slot tried had no socket
	// Overloaded counts connections, among Selected, that went to a worker to be avoided because
	// there was none better.
	Overloaded uint64
	Stale      uint64 // tries that met a listed slot with no socket
	// Strays counts segments that asked for no connection and belonged to none: late ones after a
	// reset, or ACKs to SYN cookies. They are counted nowhere else.
	Strays uint64
	Slots  []SlotStats // by slot, Config.Slots of them
}

// SlotStats is one slot. Assigned and Accepted count over all workers that ever held it.
type SlotStats struct {
	Assigned uint64 // connections
	Accepted uint64 // connections, as the workers say
	Waiting  int64  // assigned and not yet accepted, as far as is known
	InFlight int64  // as the worker says
}

// Stats is the present state, and zero once the selector is closed.
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

// Cost is how often the program ran and how long that took in all. The kernel counts only while an
// EnableCost is open, and what reading its clock twice takes is part of the time.
func (s *Selector) Cost() (runs uint64, total time.Duration, err error) {
	stats, err := s.program.Stats()
	if err != nil {
		return 0, 0, fmt.Errorf("selector: cost: %w", err)
	}
	return stats.RunCount, stats.Runtime, nil
}

// EnableCost has the kernel count and time every BPF program of the machine until the result, which
// the caller closes, is closed: BPF_ENABLE_STATS in bpf(2), Linux 5.8. Unlike the sysctl
// kernel.bpf_stats_enabled it ends with the process at the latest. It takes CAP_SYS_ADMIN.
func EnableCost() (io.Closer, error) {
	c, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, fmt.Errorf("selector: time BPF programs: %w", err)
	}
	return c, nil
}

// Close releases what the parent holds. The program stays attached to the group, and listed slots
// stay listed, until the last listener is closed. A second call does nothing.
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

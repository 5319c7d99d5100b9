package load_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/load"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/testkit"
	"reuseport-bench/servers/wire"
	"reuseport-bench/servers/worker"
)

// This test compares the latencies that the load reports with two independent witnesses: a packet
// capture in the lab, with timestamps of the kernel, and the workers' journals. The capture has its
// own clock, its own parser (net/http's) and its own computation of the schedule (start + n ÷
// rate).
//
// Only wakeUp checks how long something took. The other checks are about order, which even a slow
// machine cannot reverse:
//
//	due ≤ sent ≤ first segment ≤ accept ≤ read ≤ response segment ≤ done ≤ client's next segment
//
// The client's next segment is the next request on that connection, or a FIN, which the load sends
// by close(2) after it has read the clock. So two of the kernel's timestamps enclose the end of
// every attempt. This is true of each attempt and therefore of the sorted times, so every reported
// percentile lies between the percentiles of the two enclosing times. The log shows the distance
// between these two, which is the uncertainty of the check. The distance is measured, not assumed:
// it is the time that the load takes to wake up on this machine.

// The load and the servers of a cross-check. The work is exponential, so that latencies vary and
// requests queue.
const (
	crossRate     = 500 // attempts per second; their interval is a whole number of ns
	crossDuration = 2 * time.Second
	crossAttempts = crossRate * int(crossDuration/time.Second)
	crossSpacing  = time.Second / crossRate
	crossPort     = 8080
	crossWork     = time.Millisecond
	crossWorkers  = 2
)

// childClockError is the maximum error of a process's clock.Clock: half the narrowest of 16 nested
// readings, typically 0.1 µs.
const childClockError = time.Microsecond

// The roles in which the lab and the cross-check start the test binary.
const (
	roleInit   = "lab-init"
	roleWorker = "worker"
	roleLoad   = "load"
)

func TestMain(m *testing.M) {
	roles := map[string]func() error{
		roleInit: netlab.Init, roleWorker: worker.Main, roleLoad: load.Main,
	}
	if len(os.Args) == 2 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// An ordinary user's tests run in a user namespace if the system allows one, as in 'run'.
	if status, entered, err := netlab.Enter(context.Background()); entered && err == nil {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// self returns a function that makes the command that runs the test binary in a role, as the
// program does with its own binary.
func self(role string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", role)
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
		return cmd
	}
}

func TestKernelPacketCapture(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if !netlab.AsRoot() && !netlab.Entered() {
		testkit.Skip(t, "needs root or a user namespace")
	}
	cpus, err := kernel.UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	place := plan.Machine{CPUs: cpus}.Place()
	for _, tt := range []struct {
		network     vocabulary.Network
		connections vocabulary.Connections
	}{
		{vocabulary.NetworkLoopback, vocabulary.ConnectionsNew},
		{vocabulary.NetworkLoopback, vocabulary.ConnectionsReused},
		{vocabulary.NetworkVeth, vocabulary.ConnectionsMixed},
	} {
		t.Run(fmt.Sprintf("%s %s", tt.network, tt.connections), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := crossCheck{
				network: tt.network, connections: tt.connections,
				loadCPUs: place.Load, serverCPUs: place.Servers,
			}
			e, err := c.run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(e.report())
			if e.clockError > 50*time.Microsecond {
				t.Fatalf("CLOCK_REALTIME was set during the test: "+
					"its offset from CLOCK_MONOTONIC is known only to ± %v", e.clockError)
			}
			for _, p := range e.compare() {
				t.Error(p)
			}
			if !t.Failed() {
				checkDetection(t, e)
			}
		})
	}
}

// checkDetection checks that compare finds every kind of error. Each entry falsifies the evidence
// in one way.
func checkDetection(t *testing.T, e *evidence) {
	t.Helper()
	every := func(change func(*results.Sample)) func(*evidence) {
		return func(e *evidence) {
			for i := range e.samples {
				change(&e.samples[i])
			}
		}
	}
	const shift = int64(500 * time.Microsecond)
	for _, tt := range []struct {
		name   string
		forge  func(*evidence)
		reason string
	}{
		{"done 500 µs late", every(func(s *results.Sample) { s.Done += shift }), "done → next segment"},
		{"done 500 µs early", every(func(s *results.Sample) { s.Done -= shift }), "response → done"},
		{"sent 500 µs late", every(func(s *results.Sample) { s.Sent += shift }), "sent → first segment"},
		{"sent 500 µs early", every(func(s *results.Sample) { s.Sent -= shift }), "due → sent"},
		{"scheduled when sent", every(func(s *results.Sample) { s.Scheduled = s.Sent }), "scheduled"},
		{"another worker", func(e *evidence) { e.samples[7].Worker++ }, "worker"},
		{"a lost sample", func(e *evidence) { e.samples = slices.Delete(e.samples, 417, 418) }, "no sample"},
		{"a sample twice", func(e *evidence) { e.samples[417] = e.samples[418] }, "two samples"},
		{"a sample too many", func(e *evidence) {
			e.samples = append(e.samples, results.Sample{Process: 1, Sequence: 3})
		}, "not in the schedule"},
		{"a request not captured", func(e *evidence) { delete(e.crossings, wire.Attempt{Sequence: 5}) }, "not captured"},
		{"a request too many", func(e *evidence) { e.crossings[wire.Attempt{Process: 9}] = crossing{} }, "not in the schedule"},
		{"no journal entry", func(e *evidence) { delete(e.journal, wire.Attempt{Sequence: 5}) }, "no worker's journal"},
	} {
		forged := *e
		forged.samples, forged.crossings = slices.Clone(e.samples), maps.Clone(e.crossings)
		forged.journal = maps.Clone(e.journal)
		tt.forge(&forged)
		problems := strings.Join(forged.compare(), "\n")
		if !strings.Contains(problems, tt.reason) {
			t.Errorf("%s: got problems %q, want one with %q", tt.name, problems, tt.reason)
		}
	}
}

// evidence is what the two witnesses and the load report about the same attempts. All instants are
// readings of CLOCK_MONOTONIC.
type evidence struct {
	begin      clock.Instant // when the schedule begins
	clockError time.Duration
	crossings  map[wire.Attempt]crossing     // as the capture shows them
	journal    map[wire.Attempt]journalEntry // as the workers recorded them
	samples    []results.Sample              // as the load reported them
}

// A crossing describes one attempt by its segments in the capture.
type crossing struct {
	source   netip.AddrPort
	worker   int           // the worker named in the response
	opened   bool          // the attempt opened the connection
	first    clock.Instant // the SYN if opened, else the first segment of the request
	request  clock.Instant // the segment that completes the request
	response clock.Instant // the segment that completes the response
	next     clock.Instant // the client's next data or FIN on the connection
}

// A journalEntry describes one attempt by a worker's journal.
type journalEntry struct {
	worker                  int
	peer                    netip.AddrPort
	accept, read, responded clock.Instant
}

// compare returns the disagreements among them, one line for each kind.
func (e *evidence) compare() []string {
	var p disagreements
	seen := map[wire.Attempt]bool{}
	for i := range e.samples {
		s := &e.samples[i]
		id := wire.Attempt{Process: uint16(s.Process), Sequence: s.Sequence}
		if seen[id] {
			p.add("two samples", "%v", id)
		}
		seen[id] = true
		e.attempt(&p, id, s)
	}
	for id := range e.crossings {
		if !inSchedule(id) {
			p.add("captured, but not in the schedule", "%v", id)
		}
	}
	for n := range crossAttempts {
		if id := (wire.Attempt{Sequence: uint64(n)}); !seen[id] {
			p.add("no sample", "%v", id)
		}
	}
	if len(p.kinds) == 0 { // otherwise the sources describe different attempts
		e.percentiles(&p)
		e.wakeUp(&p)
	}
	return p.lines()
}

func inSchedule(id wire.Attempt) bool {
	return id.Process == 0 && id.Sequence < uint64(crossAttempts)
}

// due returns the time at which the attempt was due. It computes the schedule without the load's
// code.
func (e *evidence) due(s *results.Sample) clock.Instant {
	return e.begin.Add(time.Duration(s.Sequence) * crossSpacing)
}

func (e *evidence) attempt(p *disagreements, id wire.Attempt, s *results.Sample) {
	if !inSchedule(id) {
		p.add("a sample not in the schedule", "%v", id)
		return
	}
	c, captured := e.crossings[id]
	j, journaled := e.journal[id]
	switch {
	case !captured:
		p.add("not captured", "%v", id)
		return
	case !journaled:
		p.add("in no worker's journal", "%v", id)
		return
	}
	if !s.Served() || s.Status != http.StatusOK {
		p.add("not served", "%v: %v in phase %v, status %d", id, s.Class, s.Phase, s.Status)
	}
	if c.source != s.Source || j.peer != s.Source {
		p.add("source", "%v: %v in the capture, %v in the journal, %v in the sample",
			id, c.source, j.peer, s.Source)
	}
	if c.worker != s.Worker || j.worker != s.Worker {
		p.add("worker", "%v: %d in the capture, %d in the journal, %d in the sample",
			id, c.worker, j.worker, s.Worker)
	}
	if due := e.due(s); s.Scheduled != int64(due) {
		p.add("scheduled", "%v: %v after %d ÷ rate",
			id, time.Duration(s.Scheduled-int64(due)), s.Sequence)
	}
	for _, i := range e.intervals(s) {
		if i.took < -e.clockError {
			p.add(i.name, "%v: %v", id, i.took)
		}
	}
}

// An interval is the time from one instant of an attempt to another that cannot precede the first.
type interval struct {
	name string
	took time.Duration
}

// intervals returns the intervals of an attempt whose two instants come from different sources.
func (e *evidence) intervals(s *results.Sample) []interval {
	id := wire.Attempt{Process: uint16(s.Process), Sequence: s.Sequence}
	c, j := e.crossings[id], e.journal[id]
	sent, done := clock.Instant(s.Sent), clock.Instant(s.Done)
	all := []interval{
		{"due → sent", sent.Sub(e.due(s))},
		{"sent → first segment", c.first.Sub(sent)},
		{"request → read", j.read.Sub(c.request)},
		{"read → response", c.response.Sub(j.read)},
		// write(2) hands a small segment to the device before it returns: no other segment waits,
		// and lo and veth have no queue.
		{"response → written", j.responded.Sub(c.response)},
		{"response → done", done.Sub(c.response)},
		{"done → next segment", c.next.Sub(done)},
	}
	if c.opened {
		all = append(all, interval{"SYN → accept", j.accept.Sub(c.first)})
	}
	return all
}

// enclosed holds one kind of latency of all attempts, in ns, as three sorted lists: the reported
// latencies, and lower and upper bounds from the capture.
type enclosed struct {
	name                  string
	least, reported, most []int64
}

func (e *evidence) latencies() []enclosed {
	response, service := enclosed{name: "response"}, enclosed{name: "service"}
	for i := range e.samples {
		s := &e.samples[i]
		id := wire.Attempt{Process: uint16(s.Process), Sequence: s.Sequence}
		c, due := e.crossings[id], e.due(s)
		response.add(c.response.Sub(due), time.Duration(s.Done-s.Scheduled), c.next.Sub(due))
		// The capture does not show the instant of sending. It lies between the due instant and the
		// first segment.
		service.add(c.response.Sub(c.first), time.Duration(s.Done-s.Sent), c.next.Sub(due))
	}
	for _, l := range []*enclosed{&response, &service} {
		slices.Sort(l.least)
		slices.Sort(l.reported)
		slices.Sort(l.most)
	}
	return []enclosed{response, service}
}

func (l *enclosed) add(least, reported, most time.Duration) {
	l.least = append(l.least, int64(least))
	l.reported = append(l.reported, int64(reported))
	l.most = append(l.most, int64(most))
}

// perMille returns the nearest-rank quantile q/1000 of sorted values; q = 1000 gives the largest
// value.
func perMille(sorted []int64, q int) int64 {
	return sorted[max(0, (len(sorted)*q+999)/1000-1)]
}

// percentiles compares the percentiles of a report with the sorted values, and the sorted values
// with the capture.
func (e *evidence) percentiles(p *disagreements) {
	for _, l := range e.latencies() {
		h := results.NewHistogram()
		for _, v := range l.reported {
			h.Record(v)
		}
		got := h.Percentiles()
		for _, q := range []struct {
			name  string
			mille int
			got   int64
		}{
			{"p50", 500, got.P50}, {"p90", 900, got.P90}, {"p99", 990, got.P99},
			{"p99.9", 999, got.P999}, {"max", 1000, got.Max},
		} {
			exact := perMille(l.reported, q.mille)
			if q.got < exact || q.got > exact+exact/1000 { // Histogram: at most 0.1 % above
				p.add("histogram", "%s %s: got %d ns, want %d and at most 0.1 %% more",
					l.name, q.name, q.got, exact)
			}
			least := perMille(l.least, q.mille) - int64(e.clockError)
			most := perMille(l.most, q.mille) + int64(e.clockError)
			if exact < least || exact > most {
				p.add("percentiles", "%s %s: got %d ns, captured %d to %d",
					l.name, q.name, exact, least, most)
			}
		}
	}
}

// wakeUp checks that the load reads the clock soon after a response arrives. Checks of order cannot
// find a late reading, which delays the load's next segment, too. The limit is ten times what a
// worker needs to wake up, and at least a millisecond.
func (e *evidence) wakeUp(p *disagreements) {
	took := e.intervalTimes()
	limit := max(time.Millisecond, 10*time.Duration(perMille(took["request → read"], 500)))
	if got := time.Duration(perMille(took["response → done"], 500)); got > limit {
		p.add("wake-up", "median from response to done: %v, want at most %v", got, limit)
	}
}

// intervalTimes returns the intervals of all attempts by name, in ns and sorted.
func (e *evidence) intervalTimes() map[string][]int64 {
	all := map[string][]int64{}
	for i := range e.samples {
		for _, s := range e.intervals(&e.samples[i]) {
			all[s.name] = append(all[s.name], int64(s.took))
		}
	}
	for _, times := range all {
		slices.Sort(times)
	}
	return all
}

// report formats the evidence, in µs.
func (e *evidence) report() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d samples, %d captured, %d in journals; clocks compared to ± %v\n",
		len(e.samples), len(e.crossings), len(e.journal), e.clockError)
	if len(e.samples) == 0 {
		return out.String()
	}
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, sorted []int64, quantiles ...int) {
		fmt.Fprintf(w, "%s\t", name)
		for _, q := range quantiles {
			fmt.Fprintf(w, "%.1f\t", float64(perMille(sorted, q))/1e3)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "latency, µs\tp50\tp90\tp99\tmax\t")
	for _, l := range e.latencies() {
		row(l.name+", captured", l.least, 500, 900, 990, 1000)
		row(l.name+", reported", l.reported, 500, 900, 990, 1000)
		row(l.name+", captured, to next segment", l.most, 500, 900, 990, 1000)
	}
	fmt.Fprintln(w, "interval, µs\tmin\tp50\tp99\tmax\t")
	took := e.intervalTimes()
	for _, name := range []string{
		"due → sent", "sent → first segment", "SYN → accept", "request → read",
		"read → response", "response → written", "response → done", "done → next segment",
	} {
		if sorted := took[name]; len(sorted) > 0 {
			row(name, sorted, 0, 500, 990, 1000)
		}
	}
	_ = w.Flush() // cannot fail: it writes to memory
	early := time.Duration(took["response → done"][0])
	late := time.Duration(took["done → next segment"][0])
	fmt.Fprintf(&out, "this test would detect ends reported more than %v too early or %v too late",
		early+e.clockError, late+e.clockError)
	return out.String()
}

// disagreements collects the findings of compare by kind, with one line for each kind.
type disagreements struct {
	kinds []string // in order of appearance
	first map[string]string
	count map[string]int
}

func (p *disagreements) add(kind, format string, args ...any) {
	if p.count == nil {
		p.first, p.count = map[string]string{}, map[string]int{}
	}
	if p.count[kind]++; p.count[kind] == 1 {
		p.kinds = append(p.kinds, kind)
		p.first[kind] = fmt.Sprintf(format, args...)
	}
}

func (p *disagreements) lines() []string {
	var lines []string
	for _, k := range p.kinds {
		lines = append(lines,
			fmt.Sprintf("%s: %d of these, the first: %s", k, p.count[k], p.first[k]))
	}
	return lines
}

// A crossCheck is one load on one group of workers in a lab, set up as in a trial, with a capture.
type crossCheck struct {
	network              vocabulary.Network
	connections          vocabulary.Connections
	loadCPUs, serverCPUs []int

	lab     *netlab.Lab
	group   *servers.Group
	capture *packetCapture
	journal journalReader
	clock   *clock.Clock
}

func (x *crossCheck) run(ctx context.Context) (e *evidence, err error) {
	if x.clock, err = clock.New(); err != nil {
		return nil, err
	}
	options := netlab.Options{Network: x.network, Init: self(roleInit)}
	if x.lab, err = netlab.New(ctx, options); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.lab.Close()) }()
	err = x.lab.Do(x.lab.Servers(), func() (err error) {
		x.capture, err = openCapture()
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.capture.close()) }()

	addresses := netlab.AddressesOf(x.network, vocabulary.IPv4)
	target := netip.AddrPortFrom(addresses.Servers, crossPort)
	generation, err := x.serve(ctx, target)
	if x.group != nil {
		defer func() { err = errors.Join(err, x.group.Close()) }()
	}
	if err != nil {
		return nil, err
	}
	before, err := readClocks()
	if err != nil {
		return nil, err
	}
	e = &evidence{}
	if err := x.attack(ctx, e, target, addresses.Sources); err != nil {
		return nil, err
	}
	_, _, err = x.group.Stop(ctx, generation.Workers, vocabulary.StopDrain)
	if err = errors.Join(err, x.group.Finish(ctx), x.group.Close()); err != nil {
		return nil, err
	}
	after, err := readClocks()
	if err != nil {
		return nil, err
	}
	offset, wide := before.hull(after)
	e.clockError = wide + childClockError
	e.journal = x.journal.entries
	segments, err := x.capture.segments(offset)
	if err != nil {
		return nil, err
	}
	e.crossings, err = crossingsOf(segments, target)
	return e, err
}

// serve starts the workers.
func (x *crossCheck) serve(
	ctx context.Context, target netip.AddrPort,
) (_ *servers.Generation, err error) {
	x.journal = journalReader{
		accepts: map[[2]uint32]journal.Record{}, entries: map[wire.Attempt]journalEntry{},
	}
	x.group, err = servers.NewGroup(servers.Config{
		Kind: vocabulary.ServerLoop, Sockets: vocabulary.SocketsReuseport, Workers: crossWorkers,
		Address: target, Backlog: 1024, Seed: 1,
		Work: servers.Work{Sleep: crossWork, Distribution: vocabulary.DistributionExponential},
	}, servers.Env{
		Command: self(roleWorker),
		Start: func(c *exec.Cmd, _ []int) error {
			return x.lab.Start(x.lab.Servers(), c, x.serverCPUs)
		},
		Do:      func(f func() error) error { return x.lab.Do(x.lab.Servers(), f) },
		Account: x.journal.record,
		Clock:   x.clock,
	})
	if err != nil {
		return nil, err
	}
	return x.group.StartGeneration(ctx)
}

// attack runs one load process until the process has exited.
func (x *crossCheck) attack(
	ctx context.Context, e *evidence, target netip.AddrPort, sources netip.Prefix,
) error {
	cfg := load.Config{
		Processes: 1, Target: target, Sources: sources,
		Timeout: 5 * time.Second, Connections: x.connections,
		Shape: load.Shape{Pace: vocabulary.PaceConstant, Rate: crossRate, Duration: crossDuration},
	}
	start := func(c *exec.Cmd) error { return x.lab.Start(x.lab.Clients(), c, x.loadCPUs) }
	p, err := load.Start(ctx, cfg, self(roleLoad), start)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.Interrupt)
	defer stop()
	e.begin = x.clock.Now().Add(20 * time.Millisecond)
	if err := p.Begin(e.begin); err != nil {
		return errors.Join(err, p.Kill())
	}
	err = p.Samples(func(s *results.Sample) { e.samples = append(e.samples, *s) })
	_, waitErr := p.Wait()
	return errors.Join(err, waitErr, context.Cause(ctx))
}

// journalReader joins the records of all workers by attempt.
type journalReader struct {
	accepts map[[2]uint32]journal.Record // by worker and connection
	entries map[wire.Attempt]journalEntry
}

func (j *journalReader) record(w *servers.Worker, r journal.Record) {
	key := [2]uint32{uint32(w.ID), r.Conn}
	switch r.Kind {
	case journal.Accepted:
		j.accepts[key] = r
	case journal.Requested:
		a := j.accepts[key]
		j.entries[r.Attempt] = journalEntry{worker: w.ID, peer: a.Peer, accept: a.At, read: r.At}
	case journal.Answered:
		e := j.entries[r.Attempt]
		e.responded = r.At
		j.entries[r.Attempt] = e
	}
}

// A clockDistance is a range, in ns, that contains the offset of CLOCK_REALTIME, which stamps
// packets, from CLOCK_MONOTONIC. The kernel slews both clocks together. Only setting the clock, or
// a leap second, changes the offset (timekeeping_inject_offset in kernel/time/timekeeping.c).
type clockDistance struct{ least, most int64 }

// readClocks returns the intersection of the ranges that many nested readings give.
func readClocks() (clockDistance, error) {
	c := clockDistance{-1 << 63, 1<<63 - 1}
	for range 200 {
		var readings [3]int64
		const monotonic, realtime = unix.CLOCK_MONOTONIC, unix.CLOCK_REALTIME
		for i, id := range [...]int32{monotonic, realtime, monotonic} {
			var ts unix.Timespec
			if err := unix.ClockGettime(id, &ts); err != nil {
				return c, fmt.Errorf("clock %d: %w", id, err)
			}
			readings[i] = ts.Nano()
		}
		c.least = max(c.least, readings[1]-readings[2])
		c.most = min(c.most, readings[1]-readings[0])
	}
	return c, nil
}

// hull returns the middle of the smallest range that contains c and d, and the maximum distance
// between that middle and the true offset.
func (c clockDistance) hull(d clockDistance) (offset int64, wide time.Duration) {
	least, most := min(c.least, d.least), max(c.most, d.most)
	return least + (most-least)/2, time.Duration(most-least+1) / 2
}

// A packetCapture is a packet socket with a ring that the kernel fills. The test reads the ring
// only at the end, so no packet wakes a process (packet(7), PACKET_RX_RING;
// Documentation/networking/packet_mmap.rst).
type packetCapture struct {
	fd   int
	ring []byte
}

// Each frame of the ring holds the head of one segment. There are twice as many frames as a
// thousand connections on loopback need.
const (
	ringFrameSize = 512
	ringFrames    = 1 << 16
	ringBlocks    = 512
)

// openCapture captures everything on every link of the calling thread's network namespace.
func openCapture() (*packetCapture, error) {
	// Protocol 0 captures nothing until bind. SOCK_DGRAM leaves out link-layer headers, so a packet
	// starts with its IP header.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("capture: AF_PACKET socket: %w", err)
	}
	c := &packetCapture{fd: fd}
	err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2)
	if err == nil {
		err = unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{
			Block_size: ringFrameSize * ringFrames / ringBlocks, Block_nr: ringBlocks,
			Frame_size: ringFrameSize, Frame_nr: ringFrames,
		})
	}
	if err == nil {
		c.ring, err = unix.Mmap(fd, 0, ringFrameSize*ringFrames,
			unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err == nil {
		// Only sockets for all protocols see outgoing packets (dev_queue_xmit_nit).
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL)})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("capture: %w", err), c.close())
	}
	return c, nil
}

func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (c *packetCapture) close() error {
	err := unix.Close(c.fd)
	if c.ring != nil {
		err = errors.Join(err, unix.Munmap(c.ring))
	}
	return err
}

// segments returns the segments captured so far, in the order of the ring. offset is the time by
// which the clock that stamps them is ahead of CLOCK_MONOTONIC. The kernel stamps a packet when it
// copies it to the ring: an outgoing packet before its device gets it, an incoming one before IP
// gets it (tpacket_rcv).
func (c *packetCapture) segments(offset int64) ([]tcpSegment, error) {
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return nil, fmt.Errorf("capture: PACKET_STATISTICS: %w", err)
	}
	if stats.Drops > 0 {
		return nil, fmt.Errorf("capture: %d of %d packets did not fit in the ring",
			stats.Drops, stats.Packets)
	}
	var all []tcpSegment
	for i := range ringFrames {
		f := c.ring[i*ringFrameSize:][:ringFrameSize]
		h := (*unix.Tpacket2Hdr)(unsafe.Pointer(&f[0]))
		if h.Status&unix.TP_STATUS_USER == 0 {
			break
		}
		link := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&f[unix.SizeofTpacket2Hdr]))
		if link.Hatype == unix.ARPHRD_LOOPBACK && link.Pkttype != unix.PACKET_OUTGOING {
			continue // lo shows every packet twice: going out and coming in
		}
		if h.Snaplen < h.Len {
			return nil, fmt.Errorf("capture: a packet of %d bytes was cut to %d", h.Len, h.Snaplen)
		}
		if s, ok := parseSegment(f[h.Net:][:h.Len]); ok {
			s.at = clock.Instant(int64(h.Sec)*1e9 + int64(h.Nsec) - offset)
			all = append(all, s)
		}
	}
	return all, nil
}

// A tcpSegment is a TCP segment over IPv4.
type tcpSegment struct {
	at       clock.Instant
	from, to netip.AddrPort
	sequence uint32
	flags    byte
	payload  []byte
}

// Flags (RFC 9293 §3.1).
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
)

// parseSegment parses a TCP segment over IPv4 (RFC 791 §3.1, RFC 9293 §3.1). It returns false for
// any other packet.
func parseSegment(b []byte) (s tcpSegment, ok bool) {
	const protocolTCP, header = 6, 20
	if len(b) < 2*header || b[0]>>4 != 4 || b[9] != protocolTCP {
		return s, false
	}
	ip, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total > len(b) || ip+header > total {
		return s, false
	}
	tcp := b[ip:total]
	data := int(tcp[12]>>4) * 4
	if data < header || data > len(tcp) {
		return s, false
	}
	s.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), binary.BigEndian.Uint16(tcp))
	s.to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), binary.BigEndian.Uint16(tcp[2:]))
	s.sequence, s.flags = binary.BigEndian.Uint32(tcp[4:]), tcp[13]
	s.payload = bytes.Clone(tcp[data:])
	return s, true
}

// crossingsOf follows every connection to the server and returns the crossings of the attempts on
// them.
func crossingsOf(segments []tcpSegment, server netip.AddrPort) (map[wire.Attempt]crossing, error) {
	connections := map[netip.AddrPort]*tcpConnection{}
	for _, s := range segments {
		client := s.from
		if s.from == server {
			client = s.to
		} else if s.to != server {
			continue
		}
		c := connections[client]
		if c == nil {
			c = &tcpConnection{client: client}
			connections[client] = c
		}
		if err := c.follow(s); err != nil {
			return nil, fmt.Errorf("capture: connection of %v: %w", client, err)
		}
	}
	all := map[wire.Attempt]crossing{}
	for client, c := range connections {
		for i, id := range c.ids {
			_, twice := all[id]
			if twice || c.answered != len(c.ids) || c.crossings[i].next == 0 {
				return nil, fmt.Errorf("capture: connection of %v: %d requests, %d responses; "+
					"attempt %v: sent twice: %v, followed by a segment: %v",
					client, len(c.ids), c.answered, id, twice, c.crossings[i].next != 0)
			}
			all[id] = c.crossings[i]
		}
	}
	return all, nil
}

// A tcpConnection is a TCP connection as captured so far.
type tcpConnection struct {
	client              netip.AddrPort
	syn                 clock.Instant
	requests, responses byteStream
	ids                 []wire.Attempt
	crossings           []crossing
	answered            int
}

func (c *tcpConnection) follow(s tcpSegment) error {
	if s.from != c.client {
		return errors.Join(c.responses.append(s), c.response(s))
	}
	if s.flags&flagSYN != 0 && c.syn == 0 {
		c.syn = s.at
	}
	fresh := len(c.requests.pending) == 0
	if err := c.requests.append(s); err != nil {
		return err
	}
	if n := len(c.crossings); n > 0 {
		last := &c.crossings[n-1]
		ends := s.flags&(flagFIN|flagRST) != 0
		if last.next == 0 && (len(c.requests.pending) > 0 || ends) {
			last.next = s.at
		}
	}
	if fresh {
		c.requests.began = s.at
	}
	return c.request(s)
}

// request parses the request that the segment completes, if any.
func (c *tcpConnection) request(s tcpSegment) error {
	r := bytes.NewReader(c.requests.pending)
	in := bufio.NewReader(r)
	q, err := http.ReadRequest(in)
	if err == nil {
		_, err = io.Copy(io.Discard, q.Body)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil // incomplete
	case err != nil:
		return err
	case in.Buffered() > 0 || r.Len() > 0:
		return errors.New("data after the end of a request")
	}
	c.requests.pending = nil
	process, sequence, _ := strings.Cut(q.Header.Get("Attempt"), "-")
	p, err1 := strconv.ParseUint(process, 10, 16)
	n, err2 := strconv.ParseUint(sequence, 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("attempt of a request: %w", err)
	}
	x := crossing{source: c.client, opened: len(c.ids) == 0, first: c.requests.began, request: s.at}
	if x.opened {
		x.first = c.syn
	}
	c.ids = append(c.ids, wire.Attempt{Process: uint16(p), Sequence: n})
	c.crossings = append(c.crossings, x)
	return nil
}

// response parses the response that the segment completes, if any.
func (c *tcpConnection) response(s tcpSegment) error {
	r := bytes.NewReader(c.responses.pending)
	in := bufio.NewReader(r)
	a, err := http.ReadResponse(in, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, a.Body)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil
	case err != nil:
		return err
	case in.Buffered() > 0 || r.Len() > 0 || c.answered == len(c.ids):
		return errors.New("a response without a request")
	}
	c.responses.pending = nil
	x := &c.crossings[c.answered]
	c.answered++
	x.response = s.at
	x.worker, err = strconv.Atoi(cmp.Or(a.Header.Get("Worker"), "-1"))
	return err
}

// byteStream is one direction of a connection.
type byteStream struct {
	known   bool
	next    uint32        // the next expected sequence number
	pending []byte        // the incomplete message
	began   clock.Instant // when the message's first segment was captured
}

// append adds the new data of the segment. The instant of data is that of its first capture, even
// if it is retransmitted.
func (st *byteStream) append(s tcpSegment) error {
	if s.flags&flagSYN != 0 {
		st.known, st.next = true, s.sequence+1
		return nil
	}
	if len(s.payload) == 0 {
		return nil
	}
	old := int(int32(st.next - s.sequence))
	if !st.known || old < 0 {
		return fmt.Errorf("the capture lacks %d bytes", -old)
	}
	if old < len(s.payload) {
		st.pending = append(st.pending, s.payload[old:]...)
		st.next = s.sequence + uint32(len(s.payload))
	}
	return nil
}

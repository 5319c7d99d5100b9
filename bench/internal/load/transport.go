package load

import (
	"errors"
	"net/http"
	"os"
	"time"

	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/wire"
)

// transport is the RoundTripper of the attacker's HTTP client and holds the state of a load
// process. Each call of RoundTrip begins the attempts of one tick.
//
// One goroutine owns the transport at a time: the pacer's; the attacker's, from the release of a
// tick until its attempts have begun; and, after the attack, the goroutine in awaitAttempts. The
// channels ticks and begun pass the ownership on, so the transport needs no lock.
type transport struct {
	cfg      Config
	clock    *clock.Clock
	begins   clock.Instant // when the schedule begins
	schedule Schedule
	sources  Sources
	host     string
	method   string
	template *wire.Template
	expect   wire.Expect
	loop     *loop
	names    *names   // nil: attempts connect to cfg.Target
	retrier  *Retrier // nil: no retries
	samples  *sampleBuffer
	pool     *pool
	unused   []*attempt // ended, and free for reuse
	underWay int        // number of attempts under way
	limit    int        // the maximum of underWay
	// workers and generations number the identities in third-party servers' answers: see Identify.
	workers, generations index
	// in is the buffer that attempts read into. They copy incomplete data, so that the next attempt
	// can use in.
	in []byte

	ticks chan tick
	begun chan struct{} // receives a value when the attempts of a tick have begun
	spare time.Duration // see awaitDue
}

// tick is a range of this process's attempts that the attacker begins together. All but the first
// are already due.
type tick struct{ from, to uint64 }

// readSize is the maximum number of bytes read from a connection at a time. The head of a response
// must fit.
const readSize = 2 * wire.MaxResponseHead

// maxInFlight is the maximum number of attempts under way in one process. At the limit an open loop
// is no longer open: the schedule lags, and the trial is invalid.
const maxInFlight = 50_000

// inFlight returns the maximum number of attempts of the process under way at once. In a closed
// loop this is the process's share of the clients (the first processes have one more). In an open
// loop it exceeds the number of attempts that the schedule calls for within the timeout of an
// attempt.
func (c Config) inFlight() int {
	if n := c.Shape.Clients; n > 0 {
		return min((n+c.Processes-1-c.Process)/c.Processes, maxInFlight)
	}
	return int(min(maxInFlight, c.Shape.Peak()/float64(c.Processes)*c.Timeout.Seconds()*1.2+64))
}

// overrun returns the time for which the process still sends after the end of the schedule. It is 0
// for a closed loop, which has nothing to catch up on.
func (c Config) overrun() time.Duration {
	if c.Shape.Clients > 0 {
		return 0
	}
	return overrun
}

// newTransport makes a transport that writes its samples to a pipe. The caller closes it.
func newTransport(cfg Config, clk *clock.Clock, out *os.File) (t *transport, err error) {
	t = &transport{
		cfg: cfg, clock: clk, schedule: NewSchedule(cfg.Shape),
		host: cfg.Target.String(), method: cfg.Request.method(cfg.Body), in: make([]byte, readSize),
		limit: cfg.inFlight(), ticks: make(chan tick, 1), begun: make(chan struct{}, 1),
	}
	if err := cfg.Request.Validate(); err != nil {
		return nil, err
	}
	t.template = cfg.Request.template(t.host, cfg.Body)
	t.expect = cfg.Identify.expect(t.method)
	if cfg.Retry.Max > 0 {
		if t.retrier, err = NewRetrier(cfg.Retry, cfg.Shape.Seed); err != nil {
			return nil, err
		}
	}
	sources := t.schedule.Len()*cfg.Retry.Tries() + uint64(cfg.Keep.Count)
	if t.sources, err = NewSources(cfg.Sources, sources); err != nil {
		return nil, err
	}
	t.sources = t.sources.InTurn(cfg.Ports)
	if t.loop, err = newLoop(clk); err != nil {
		return nil, err
	}
	t.pool, err = newPool(t.loop, cfg.Keep, int(cfg.share(uint64(cfg.Keep.Count))))
	if err == nil {
		t.samples, err = newSampleBuffer(out, t.attempts(), t.loop)
	}
	if err == nil && cfg.Lookup != nil {
		t.names, err = newNames(cfg, t.loop)
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// close closes idle connections and frees everything else. No attempt may be under way. Unwritten
// samples are lost.
func (t *transport) close() error {
	var err error
	if t.pool != nil {
		err = t.pool.close()
	}
	err = errors.Join(err, t.loop.close())
	if t.names != nil {
		err = errors.Join(err, t.names.close())
	}
	if t.samples != nil {
		err = errors.Join(err, t.samples.free())
	}
	return err
}

// RoundTrip begins the attempts of a tick. Their results go into samples; the attacker never learns
// them.
func (t *transport) RoundTrip(*http.Request) (*http.Response, error) {
	for k := <-t.ticks; k.from < k.to; k.from++ {
		t.begin(k.from)
	}
	t.begun <- struct{}{}
	return response, nil
}

// response is the response that the attacker always gets. It is never modified.
var response = &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: http.NoBody}

// index returns the index of an attempt of this process in the schedule of all processes.
func (t *transport) index(sequence uint64) uint64 {
	return sequence*uint64(t.cfg.Processes) + uint64(t.cfg.Process)
}

// due returns the time at which an attempt of this process is due, and false if the schedule ends
// earlier.
func (t *transport) due(sequence uint64) (clock.Instant, bool) {
	index := t.index(sequence)
	return t.begins.Add(t.schedule.At(index)), index < t.schedule.Len()
}

// attempts returns the number of attempts of the schedule that belong to this process.
func (t *transport) attempts() uint64 { return t.cfg.share(t.schedule.Len()) }

// begin begins an attempt.
func (t *transport) begin(sequence uint64) {
	t.underWay++
	last := len(t.unused) - 1
	if last < 0 {
		(&attempt{t: t}).begin(sequence)
		return
	}
	a := t.unused[last]
	t.unused = t.unused[:last]
	a.begin(sequence)
}

// awaitDue spins until an attempt is due. It stores in spare the time that it had to spin, which is
// negative if the attempt was late. If a tick has several attempts, the value for the first
// attempt, which is the largest, is kept.
func (t *transport) awaitDue(due clock.Instant) {
	now := t.clock.Now()
	t.spare = max(t.spare, due.Sub(now))
	for ; now < due; now = t.clock.Now() {
	}
}

// identify sets the sample's worker and generation according to a response that was just read.
func (t *transport) identify(s *results.Sample, r *wire.Response) {
	if t.cfg.Identify == (Identify{}) {
		s.Worker, s.Generation = wire.Number(r.Worker), wire.Number(r.Generation)
		return
	}
	s.Worker, s.Generation = t.workers.add(r.Worker), t.generations.add(r.Generation)
}

// identities returns the header values that the workers and generations of samples refer to.
func (t *transport) identities() Identities {
	return Identities{t.workers.values, t.generations.values}
}

// ended stores the sample of an attempt that has ended.
func (t *transport) ended(a *attempt) {
	t.samples.add(&a.sample)
	t.unused = append(t.unused, a)
	t.underWay--
}

// awaitAttempts turns the loop until no attempt is under way. No attempt may begin during the call.
func (t *transport) awaitAttempts() error {
	for t.underWay > 0 {
		if _, err := t.loop.turn(never); err != nil {
			return err
		}
	}
	return nil
}

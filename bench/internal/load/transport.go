package load

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"time"

	"reuseport-bench/servers/clock"
)

// transport is the RoundTripper behind the attacker's HTTP client, and all that a load process has.
// A call of RoundTrip begins the attempts of one tick.
//
// It belongs to one goroutine at a time: to the pacer's; from the release of a tick until its
// attempts have begun, to the attacker's; after the attack, to settle's. The channels ticks and
// begun hand it over, so nothing in it needs a lock.
type transport struct {
	cfg      Config
	clock    *clock.Clock
	begins   clock.Instant // the schedule
	schedule Schedule
	sources  Sources
	host     string
	body     []byte
	method   string
	loop     *loop
	names    *names   // nil: the target is known
	retrier  *Retrier // nil: nothing is tried again
	samples  *sampleBuffer
	pool     *pool
	unused   []*attempt // that have ended
	underWay int        // attempts
	limit    int        // of underWay

	ticks chan tick
	begun chan struct{} // one when the attempts of a tick have begun
	spare time.Duration // see awaitDue
}

// tick is the attempts of this process that the attacker is released for: one, or those that are
// due at once or have been.
type tick struct{ from, to uint64 }

// maxInFlight bounds the attempts of one process that are under way at once: beyond it an open loop
// is no longer open, the schedule lags, and the trial is invalid.
const maxInFlight = 50_000

// inFlight returns how many attempts of the process may be under way at once: of a closed loop its
// share of the clients, the first processes one more; of an open one more than a schedule makes in
// the time that an attempt may take.
func (c Config) inFlight() int {
	if n := c.Shape.Clients; n > 0 {
		return min((n+c.Processes-1-c.Process)/c.Processes, maxInFlight)
	}
	return int(min(maxInFlight, c.Shape.Peak()/float64(c.Processes)*c.Timeout.Seconds()*1.2+64))
}

// overrun returns how long after the end of the schedule the process still sends: a closed loop has
// nothing to make up for then.
func (c Config) overrun() time.Duration {
	if c.Shape.Clients > 0 {
		return 0
	}
	return overrun
}

// newTransport makes a transport that writes its samples into a pipe. The caller closes it.
func newTransport(cfg Config, clk *clock.Clock, out *os.File) (t *transport, err error) {
	t = &transport{
		cfg: cfg, clock: clk, schedule: NewSchedule(cfg.Shape), host: cfg.Target.String(), method: http.MethodGet,
		limit: cfg.inFlight(), ticks: make(chan tick, 1), begun: make(chan struct{}, 1),
	}
	if cfg.Body > 0 {
		t.body, t.method = bytes.Repeat([]byte{'x'}, cfg.Body), http.MethodPost
	}
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

// close closes what is idle and frees the rest; no attempt may be under way. Samples that have not
// been written are lost.
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

// RoundTrip begins the attempts of a tick. The attacker is told nothing of how they end: the
// samples say it, and more.
func (t *transport) RoundTrip(*http.Request) (*http.Response, error) {
	for k := <-t.ticks; k.from < k.to; k.from++ {
		t.begin(k.from)
	}
	t.begun <- struct{}{}
	return response, nil
}

// response is what the attacker gets. Nobody writes into it.
var response = &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: http.NoBody}

// index is the place of an attempt of this process in the schedule of all.
func (t *transport) index(sequence uint64) uint64 {
	return sequence*uint64(t.cfg.Processes) + uint64(t.cfg.Process)
}

// due is when the attempt is, of this process; false: the schedule has none.
func (t *transport) due(sequence uint64) (clock.Instant, bool) {
	index := t.index(sequence)
	return t.begins.Add(t.schedule.At(index)), index < t.schedule.Len()
}

// attempts returns how many attempts of the schedule are this process's.
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

// awaitDue spins until an attempt is due. What was left of the time, or by how much it had passed,
// is spare: of several attempts that of the first, which is the largest.
func (t *transport) awaitDue(due clock.Instant) {
	now := t.clock.Now()
	t.spare = max(t.spare, due.Sub(now))
	for ; now < due; now = t.clock.Now() {
	}
}

// ended takes the sample of an attempt that has ended.
func (t *transport) ended(a *attempt) {
	t.samples.add(&a.sample)
	t.unused = append(t.unused, a)
	t.underWay--
}

// settle waits until no attempt is under way. None may begin meanwhile.
func (t *transport) settle() error {
	for t.underWay > 0 {
		if _, err := t.loop.turn(never); err != nil {
			return err
		}
	}
	return nil
}

package load

import (
	"bytes"
	"net/http"
	"sync"

	"reuseport-bench/servers/clock"
)

// transport is the RoundTripper behind the attacker's HTTP client. One call begins the attempts of one tick.
type transport struct {
	cfg      Config
	clock    *clock.Clock
	begins   clock.Instant // the schedule
	schedule Schedule
	sources  Sources
	host     string
	body     []byte
	poller   *poller
	names    *names   // nil: the target is known
	retrier  *Retrier // nil: nothing is tried again
	method   string
	idle     pool
	samples  *sampleWriter
	spans    chan span     // of ticks that were released, and not begun
	underWay chan struct{} // one for each attempt that is; its capacity bounds them
	attempts sync.Pool     // of *attempt, which nobody uses
}

// maxInFlight bounds the attempts of one process that are under way at once: beyond it the loop is
// no longer open, the schedule lags, and the trial is invalid.
const maxInFlight = 50_000

// inFlight is how many attempts may be under way at once: more than a schedule makes in the time that one may take.
func (c Config) inFlight() int {
	if c.InFlight > 0 {
		return min(c.InFlight, maxInFlight)
	}
	return int(min(maxInFlight, c.Shape.Rate/float64(c.Processes)*c.Timeout.Seconds()*1.2+64))
}

func newTransport(cfg Config, clk *clock.Clock, begin clock.Instant, samples *sampleWriter) (*transport, error) {
	t := &transport{
		cfg: cfg, clock: clk, begins: begin, schedule: NewSchedule(cfg.Shape),
		host: cfg.Target.String(), method: http.MethodGet, samples: samples,
	}
	if cfg.Body > 0 {
		t.body, t.method = bytes.Repeat([]byte{'x'}, cfg.Body), http.MethodPost
	}
	t.underWay = make(chan struct{}, cfg.inFlight())
	t.spans = make(chan span, cfg.inFlight()) // each has a place under way
	t.attempts.New = func() any { return &attempt{t: t, out: make([]byte, 0, 512)} }
	var err error
	if cfg.Lookup != nil {
		if t.names, err = newNames(cfg.Lookup); err != nil {
			return nil, err
		}
	}
	if cfg.Retry.Max > 0 {
		if t.retrier, err = NewRetrier(cfg.Retry, cfg.Shape.Seed); err != nil {
			return nil, err
		}
	}
	if t.sources, err = NewSources(cfg.Sources, t.schedule.Len()*cfg.Retry.Tries()); err != nil {
		return nil, err
	}
	t.sources = t.sources.InTurn(cfg.Ports)
	t.poller, err = newPoller()
	return t, err
}

// close closes the idle connections; no attempt may be under way.
func (t *transport) close() error {
	t.idle.close()
	return t.poller.close()
}

// RoundTrip begins the attempts of a tick, and returns when they are sent. The attacker is told nothing of how they
// end: the samples say it, and more.
func (t *transport) RoundTrip(*http.Request) (*http.Response, error) {
	for s := <-t.spans; s.from < s.to; s.from++ {
		t.begin(s.from)
	}
	return begun, nil
}

// begun is what the attacker is told. Nobody writes into it.
var begun = &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: http.NoBody}

// index is the place of an attempt of this process in the schedule of all.
func (t *transport) index(sequence uint64) uint64 {
	return sequence*uint64(t.cfg.Processes) + uint64(t.cfg.Process)
}

// begin begins an attempt, for which there is a place among those under way.
func (t *transport) begin(sequence uint64) {
	a := t.attempts.Get().(*attempt)
	a.begin(sequence)
}

// settle waits until no attempt is under way. None may begin meanwhile.
func (t *transport) settle() {
	for range cap(t.underWay) {
		t.underWay <- struct{}{}
	}
	for range cap(t.underWay) {
		<-t.underWay
	}
}

// pool holds the idle connections, the most recently used on top.
type pool struct {
	mu   sync.Mutex
	idle []*conn
}

// take is an idle connection that is still alive, or nil. Dead ones are closed on the way.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n-- {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if c.alive() {
			return c
		}
		c.close()
	}
	return nil
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

// close closes all idle connections.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.close()
	}
	p.idle = nil
}

package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"reuseport-bench/results"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
)

// Main is a load process, from its configuration on the control pipe to its last sample.
func Main() error {
	// Little lives long here; collecting less often disturbs the schedule less.
	debug.SetGCPercent(200)
	lines := bufio.NewReader(os.NewFile(fdControl, "control"))
	var cfg Config
	if err := readLine(lines, &cfg); err != nil {
		return fmt.Errorf("load: configuration: %w", err)
	}
	clk, err := clock.New()
	if err != nil {
		return fmt.Errorf("load %d: %w", cfg.Process, err)
	}
	_ = sys.ReleaseProgram() // without, it has more resident, and sends as well
	out := os.NewFile(fdSamples, "samples")
	if _, err := out.Write([]byte{'r'}); err != nil {
		return fmt.Errorf("load %d: ready: %w", cfg.Process, err)
	}
	var s start
	if err := readLine(lines, &s); err != nil {
		return fmt.Errorf("load %d: start: %w", cfg.Process, err)
	}
	w := newSampleWriter(out)
	err = attack(cfg, clk, s.At, w)
	return errors.Join(err, w.close())
}

func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// attack sends what the schedule calls for and returns when the last attempt has ended.
func attack(cfg Config, clk *clock.Clock, begin clock.Instant, w *sampleWriter) error {
	t, err := newTransport(cfg, clk, begin, w)
	if err != nil {
		return fmt.Errorf("load %d: %w", cfg.Process, err)
	}
	a := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: t}),
		vegeta.Workers(1), // and more while all are busy
		vegeta.MaxWorkers(uint64(cfg.inFlight())),
	)
	targeter := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: "http://" + t.host})
	timer, err := clock.NewTimer()
	if err != nil {
		return fmt.Errorf("load %d: %w", cfg.Process, err)
	}
	p := &pacer{transport: t, timer: timer}
	for range a.Attack(targeter, p, 0, "") {
		// The attempt knows more than the attacker, and writes the sample.
	}
	t.settle()
	return errors.Join(p.err, timer.Close(), t.close())
}

// pacer releases the attacker's ticks, and says which attempts each is for.
//
// It waits on a timerfd. Package time's timers end in epoll_wait, which rounds up to a millisecond; a
// thread in clock_nanosleep would need a second one beside it for the poller, and a futex call or two
// per attempt to wake it. A timerfd is one more descriptor that the one thread polls, to the nanosecond.
//
// A tick is released a little early; the rest of the wait is spun away in the attempt, with the
// socket made and bound and only connect(2) left to do.
type pacer struct {
	*transport
	timer *clock.Timer
	look  look
	next  uint64 // attempt of this process that no tick has been released for
	err   error  // of the timer, or the poller; it ended the attack
}

// early is the time from a tick to its due instant, and so the longest spin: about what it takes
// to wake up and to make a socket on a virtual machine. An answer that comes meanwhile waits as long.
const early = 50 * time.Microsecond

// overrun is how late, after the last due instant, a generator that cannot keep up still sends.
const overrun = 250 * time.Millisecond

// spanLimit bounds the attempts of one tick. They keep the answers of others waiting, for some 25 µs each.
const spanLimit = 8

// span is the attempts of one tick, of this process: one, or those that are due at once or have been.
type span struct{ from, to uint64 }

// Pace implements vegeta.Pacer. It returns when the next attempt of this process is nearly due.
func (p *pacer) Pace(time.Duration, uint64) (time.Duration, bool) {
	due, ok := p.due(p.next)
	if !ok {
		return 0, true
	}
	now := p.clock.Now()
	switch wake := due.Add(-early); {
	case now < wake:
		p.err = p.timer.Wait(wake)
	default: // behind: let what has been started go on
		runtime.Gosched()
		_, p.err = p.poller.poll(&p.look)
	}
	if p.err != nil {
		return 0, true
	}
	// A place for each attempt, before it is anybody's: where there is none, the loop is closed, and waits here.
	p.underWay <- struct{}{}
	if p.clock.Now() > p.begins.Add(p.cfg.Shape.Duration+overrun) {
		<-p.underWay
		return 0, true
	}
	s := span{p.next, p.next + 1}
	for limit := max(now, due); s.to < s.from+spanLimit && p.names == nil; s.to++ { // one that looks a name up keeps nobody else waiting
		if due, ok := p.due(s.to); !ok || due > limit || !p.place() {
			break
		}
	}
	p.next = s.to
	p.spans <- s
	return 0, false
}

// place takes a place for one more attempt, if there is one.
func (t *transport) place() bool {
	select {
	case t.underWay <- struct{}{}:
		return true
	default:
		return false
	}
}

// due is when the attempt is, of this process; false: the schedule has none.
func (t *transport) due(sequence uint64) (clock.Instant, bool) {
	index := t.index(sequence)
	return t.begins.Add(t.schedule.At(index)), index < t.schedule.Len()
}

// Rate implements vegeta.Pacer.
func (p *pacer) Rate(time.Duration) float64 { return p.cfg.Shape.Rate / float64(p.cfg.Processes) }

// sampleWriter hands samples to the parent in batches, off the attempts' path.
type sampleWriter struct {
	out     io.WriteCloser
	mu      sync.Mutex
	pending []byte
	err     error // of the first failed write
	stop    chan struct{}
	done    chan struct{}
}

// pendingLimit bounds what waits for a slow parent, in bytes; past it, attempts wait.
const pendingLimit = 4 << 20

func newSampleWriter(out io.WriteCloser) *sampleWriter {
	w := &sampleWriter{out: out, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

func (w *sampleWriter) add(s *results.Sample) {
	w.mu.Lock()
	w.pending = s.Append(w.pending)
	full := len(w.pending) >= pendingLimit
	w.mu.Unlock()
	if full {
		w.flush(nil)
	}
}

func (w *sampleWriter) run() {
	defer close(w.done)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var spare []byte
	for {
		spare = w.flush(spare)
		select {
		case <-w.stop:
			w.flush(nil)
			return
		case <-tick.C:
		}
	}
}

// flush writes what is pending and gives spare, an empty buffer, in exchange for the written one.
func (w *sampleWriter) flush(spare []byte) []byte {
	w.mu.Lock()
	b := w.pending
	w.pending = spare[:0]
	w.mu.Unlock()
	if len(b) > 0 {
		if _, err := w.out.Write(b); err != nil {
			w.mu.Lock()
			w.err = errors.Join(w.err, err)
			w.mu.Unlock()
		}
	}
	return b[:0]
}

// close writes the rest and returns the first error of any write.
func (w *sampleWriter) close() error {
	close(w.stop)
	<-w.done
	if w.err != nil {
		return fmt.Errorf("samples: %w", w.err)
	}
	return w.out.Close()
}

package ledger

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/load"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
	"reuseport-bench/scenarios"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/journal"
	"reuseport-bench/servers/wire"
)

// closedLoop makes the load a closed loop of two clients, for 100 ms.
func closedLoop(l *Load) {
	l.Shape = load.Shape{
		Pace: vocabulary.PaceConstant, Clients: 2, Duration: 100 * time.Millisecond,
	}
}

// A sent holds the client's and the server's account of one attempt of a closed loop. Instants are
// in ms since the first attempt.
type sent struct {
	at, accepted, done int
	class              results.Class
}

func (s sent) sample(b *Book, i int) *results.Sample {
	at := func(t int) int64 { return int64(begin) + int64(t)*int64(ms) }
	r := &results.Sample{
		Sequence: uint64(i), Scheduled: at(s.at), Sent: at(s.at), Connected: at(s.at) + int64(ms)/2,
		Done: at(s.done), Source: b.sources.At(uint64(i)),
		Class: s.class, Worker: -1, Generation: -1,
	}
	if s.class == results.ClassNone {
		r.Worker, r.Generation, r.Status, r.FirstByte = worker, generation, 200, r.Done
	} else {
		r.Phase = results.PhaseWait
	}
	return r
}

func (s sent) records(b *Book, i int) {
	server, end := "aqr", journal.EndServed
	if s.class != results.ClassNone {
		server, end = "aq", journal.EndUnanswered
	}
	enterServer(b, journal.Record{
		At:   begin.Add(time.Duration(s.accepted) * time.Millisecond),
		Conn: uint32(i), Peer: b.sources.At(uint64(i)),
		Attempt: wire.Attempt{Sequence: uint64(i)}, Identified: true,
	}, server, end)
}

// twoClients are the attempts of two clients. Each client sends its first attempt at 0, and each
// later attempt when its previous one has ended. The workers are stopped from 20 to 70 ms. A step
// begins at 70 ms.
var twoClients = []sent{
	{at: 0, accepted: 1, done: 10},
	{at: 0, accepted: 1, done: 12},
	{at: 10, accepted: 11, done: 20},
	{at: 12, accepted: 72, done: 75},
	{at: 20, accepted: 71, done: 80, class: results.ClassEOF},
	{at: 75, accepted: 76, done: 90},
	{at: 80, accepted: 81, done: 99},
	{at: 90, accepted: 91, done: 104},
	{at: 99, accepted: 100, done: 108},
}

// A closed loop has as many attempts as its clients have sent. Figures that need a schedule are
// null, never 0. The order of samples and journals does not matter.
func TestClosedLoop(t *testing.T) {
	for name, sampleFirst := range map[string]bool{"samples first": true, "journals first": false} {
		t.Run(name, func(t *testing.T) {
			b := testBook(t, 1, closedLoop)
			b.Keep()
			for _, records := range []bool{!sampleFirst, sampleFirst} {
				for i, s := range twoClients {
					if records {
						s.records(b, i)
					} else {
						b.Sample(s.sample(b, i))
					}
				}
			}
			s := step(70*ms, "stall")
			a := b.Close(&Facts{Duration: 100 * time.Millisecond, Steps: []Step{s},
				Workers: []Worker{{ID: worker, Generation: generation, Ready: new(Time)}}})
			closedFigures(t, a)
			again, err := a.Recording().Judge()
			if err != nil {
				t.Fatal(err)
			}
			closedFigures(t, again)
		})
	}
}

func closedFigures(t *testing.T, a *Account) {
	t.Helper()
	var got results.Trial
	a.Fill(&got)
	got.Steps = []results.Step{a.Step(0)}
	type figures struct {
		Attempts, Served, Lost, Residual int64
		Concurrency                      int
		Achieved, ServedPerSecond        float64
		Mean, Max, Service, Stall        int64
		StepLost, StepDropped            int64
		ClosedByWorker                   int64
	}
	step := got.Steps[0]
	want := figures{
		Attempts: 9, Served: 8, Lost: 1, Concurrency: 2, Achieved: 90, // in 100 ms
		// 6 in 100 ms; two attempts were still under way at the end
		ServedPerSecond: 60,
		Mean:            int64(21 * ms), // over all served attempts but the first two: 130 ms ÷ 6
		Max:             int64(63 * ms), Service: int64(63 * ms), Stall: int64(63 * ms),
		StepLost: 1, StepDropped: 1, ClosedByWorker: 1,
	}
	// Histograms round times up slightly.
	rounded := func(ns int64) int64 { return ns / int64(ms) * int64(ms) }
	if diff := cmp.Diff(figures{
		got.Attempts, got.Served, got.Lost, got.Residual,
		got.Concurrency, got.AchievedPerSecond, *got.ServedPerSecond,
		rounded(got.ResponseNS.Mean), rounded(got.ResponseNS.Max), rounded(got.ServiceNS.Max),
		*step.StallNS,
		step.Lost, *step.Dropped, got.LostByCause[cause.ClosedByWorker],
	}, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"offered_per_second", "schedule_lag_p99_ns", "gap_ns", "outage_ns", "lost_share",
		"resolution_ns", "schedule_lag_max_ns",
	} {
		if !strings.Contains(string(text), `"`+name+`":null`) {
			t.Errorf("%s is not null in %s", name, text)
		}
	}
	queues, _ := a.Queues(EqualWindows(10*time.Millisecond, 20))
	if len(queues) != 1 || queues[0].Max != 2 {
		t.Errorf("queues %+v, want one with two connections, waiting from 20 ms on", queues)
	}
}

// If workers read requests that the load did not send, these do not count as attempts, but add to
// the residual.
func TestClosedLoopUnmatched(t *testing.T) {
	b := testBook(t, 1, closedLoop)
	for i, s := range twoClients {
		s.records(b, i)
		b.Sample(s.sample(b, i))
	}
	sent{at: 95, accepted: 96}.records(b, 40)
	var got results.Trial
	b.Close(&Facts{Duration: 100 * time.Millisecond}).Fill(&got)
	if got.Attempts != int64(len(twoClients)) || got.Residual == 0 {
		t.Errorf("%d attempts, residual %d", got.Attempts, got.Residual)
	}
}

// Each stage counts the attempts that were due during it.
func TestStageFigures(t *testing.T) {
	b := testBook(t, 1, func(l *Load) {
		l.Shape = load.Shape{
			Pace: vocabulary.PaceConstant, Rate: 150, Duration: 2 * time.Second,
			Stages: []load.Stage{
				{From: 100, Rate: 100, Duration: time.Second},
				{From: 0, Rate: 400, Duration: time.Second},
			},
		}
	})
	for i := range 300 {
		a := account{done: 2, server: "aqr", end: journal.EndServed}
		switch {
		case i == 120:
			a = account{class: results.ClassRefused, phase: results.PhaseConnect}
		case i == 130:
			continue // never sent
		case i >= 100:
			a.done = 7
		}
		enter(b, i, a)
	}
	var got results.Trial
	b.Close(&Facts{Duration: 2 * time.Second}).Fill(&got)
	if *got.OfferedPerSecond != 150 {
		t.Errorf("%v/s offered, want the mean, 150", *got.OfferedPerSecond)
	}
	for k := range got.Stages {
		p := got.Stages[k].ResponseNS
		if want := []int64{2, 7}[k]; p.P50/int64(ms) != want || p.P99/int64(ms) != want {
			t.Errorf("stage %d: %+v, want %d ms", k, p, want)
		}
		got.Stages[k].ResponseNS = nil
	}
	want := []results.Stage{
		{DurationNS: 1e9, FromPerSecond: 100, ToPerSecond: 100, Attempts: 100},
		{FromNS: 1e9, DurationNS: 1e9, ToPerSecond: 400, Attempts: 200, Lost: 2, Dropped: 1},
	}
	if diff := cmp.Diff(got.Stages, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// The times of the phases begin with the last try. Reused connections have no connection time, and
// the times of lost attempts are not recorded.
func TestPhases(t *testing.T) {
	b := testBook(t, 4, reuses, func(l *Load) { l.Tries = 2 })
	due := func(i int) int64 { return int64(begin) + int64(b.scheduled(i)) }
	sample := func(i int, source uint64, connected, firstByte, done int64) results.Sample {
		return results.Sample{
			Sequence: uint64(i), Source: b.sources.At(source),
			Scheduled: due(i), Sent: due(i) + 1e6,
			Connected: due(i) + 1e6 + connected, FirstByte: due(i) + 1e6 + firstByte,
			Done: due(i) + 1e6 + done,
		}
	}
	first := sample(0, 0, 2e6, 9e6, 11e6)
	reused := sample(1, 0, 1000, 5e6, 6e6)
	again := sample(2, 6, 33e6, 37e6, 40e6) // 2 + 4: its second try
	again.LastSent = again.Sent + 30e6
	again.Failed = []results.FailedTry{{Failure: results.FailureRefused, Opened: true}}
	lost := sample(3, 3, 50e6, 60e6, 70e6)
	lost.Class, lost.Phase = results.ClassEOF, results.PhaseBody
	for _, s := range []results.Sample{first, reused, again, lost} {
		b.Sample(&s)
	}
	var got results.Trial
	b.Close(&Facts{Duration: 4 * time.Millisecond}).Fill(&got)
	within := func(what string, ns, want int64) {
		if max(ns-want, want-ns) > want/500 { // the histogram's resolution
			t.Errorf("%s %d ns, want %d", what, ns, want)
		}
	}
	within("connected, median", got.ConnectNS.P50, 2e6)
	within("connected, longest", got.ConnectNS.Max, 3e6)
	within("connected, mean", got.ConnectNS.Mean, 2.5e6)
	within("first byte, median", got.FirstByteNS.P50, 7e6)
	within("first byte, longest", got.FirstByteNS.Max, 9e6)
	within("first byte, mean", got.FirstByteNS.Mean, 7e6)
	within("whole, longest", got.ServiceNS.Max, 40e6)

	b = testBook(t, 1) // every attempt opens a connection
	b.Sample(&first)
	var fresh results.Trial
	b.Close(&Facts{Duration: time.Millisecond}).Fill(&fresh)
	if fresh.ConnectNS == nil || fresh.FirstByteNS == nil {
		t.Fatal("no phases without kept connections")
	}
	within("connected, of the only one", fresh.ConnectNS.P50, 2e6)
	within("first byte, of the only one", fresh.FirstByteNS.P50, 9e6)
}

// A closed loop has no schedule lag. Only the use of the load's CPU shows that the load was too
// slow.
func TestClosedLoopValidity(t *testing.T) {
	limits := scenarios.Validity{LagFloor: time.Hour, StepLag: time.Hour, Steal: 1, RunQueue: 1}
	for _, tt := range []struct {
		name   string
		change func(*results.Trial)
		want   string
	}{
		{"good", func(*results.Trial) {}, ""},
		{"a busy load", func(r *results.Trial) { r.CPU.LoadDriveNS = new(960 * nsMS) },
			"the load process was at its limit"},
		{"as many attempts as possible", func(r *results.Trial) {
			r.Attempts, r.Served = load.MaxAttempts, load.MaxAttempts
		}, "reached the limit of attempts"},
		{"local errors", func(r *results.Trial) {
			r.LocalErrors = map[string]int64{"EMFILE": 1}
		}, "lower load.concurrency"},
	} {
		r := &results.Trial{
			Concurrency: 5, Attempts: 1000, Served: 1000, AchievedPerSecond: 1000,
			ResponseNS: &results.Percentiles{P99: nsMS}, Steps: []results.Step{{Do: "replace"}},
			CPU: results.CPU{
				LoadNS: new(990 * nsMS), LoadDriveNS: new(940 * nsMS), WatchedNS: new(1000 * nsMS),
			},
		}
		tt.change(r)
		got := strings.Join(Invalid(limits, 1, r), "; ")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		// The load of an open loop may use all of its CPU: the schedule lag shows whether the load
		// was late.
		if r.Concurrency = 0; tt.name == "a busy load" && len(Invalid(limits, 1, r)) > 0 {
			t.Errorf("an open loop: %q", Invalid(limits, 1, r))
		}
	}
}

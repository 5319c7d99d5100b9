package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reuseport-bench/bench/internal/doctor"
	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/results"
	"reuseport-bench/servers/testkit"
)

// requireRoundTrip skips a test if this machine has no means to delay packets.
func requireRoundTrip(t *testing.T) {
	t.Helper()
	requireLab(t)
	options := probeOptions()
	options.Only = []string{doctor.Netem, doctor.TUN}
	for _, r := range doctor.Examine(t.Context(), options) {
		if r.Status == doctor.Yes {
			return
		}
	}
	testkit.Skip(t, "neither netem nor a TUN device is to be had")
}

// recordings runs a scenario and returns the recordings of its trials.
func recordings(t *testing.T, yaml string) (all []*ledger.Recording) {
	t.Helper()
	p := newProgram(t)
	file, out := filepath.Join(p.dir, "scenario.yaml"), filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(file, []byte(yaml), 0o666); err != nil {
		t.Fatal(err)
	}
	c := p.command(t.Context(), "run", file, "--out", out, "--keep-facts")
	if output, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	p.gone(t)
	run, err := results.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	checkTrials(t, run)
	files, err := harness.FactsFiles(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		r, err := ledger.ReadRecording(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// At every instant, the handshakes started within the last round trip are half-open. When a step
// closes the old listeners, stop mode drain loses the half-open handshakes of these; migrate loses
// none.
func TestKernelRoundTrip(t *testing.T) {
	requireRoundTrip(t)
	const rate, trip, restarts = 1000, 40 * time.Millisecond, 3
	all := recordings(t, `
name: round-trip
about: Three restarts, 40 ms from the clients.
network: veth
round_trip: 40ms
server: {work: {sleep: 100us}}
load: {rate: 1000/s, duration: 1300ms, timeout: 5s}
timeline: [{at: 200ms, every: 400ms, do: replace}]
matrix: [{stop: [drain, migrate]}]
trials: 1
`+punctual)
	for _, r := range all {
		stop, tr := r.Header.Labels["stop"], r.Trial
		if !tr.Valid {
			continue // it was repeated
		}
		if p := tr.ResponseNS; len(tr.Steps) != restarts || p == nil || p.P50 < int64(2*trip) {
			t.Fatalf("%s: %d steps, response times %+v; want %d, and 2 × %v or more",
				stop, len(tr.Steps), p, restarts, trip)
		}
		checkRelay(t, stop, trip, tr)
		open, old := halfOpenAtClose(t, r, trip)
		lost := int(tr.LostByCause[resetHalfOpen])
		t.Logf("%s: %d half-open at %d closes, %d of them at old listeners; lost %v",
			stop, open, restarts, old, tr.LostByCause)
		// Allow for a busy machine, on which attempts start late and the relay delays some packets
		// too long.
		if want := rate * trip.Seconds() * restarts; math.Abs(float64(open)-want) > want/2 {
			t.Errorf("%s: %d handshakes were half-open, want about %.0f", stop, open, want)
		}
		switch slack := max(3, old/4); stop {
		case "drain":
			lostOnlyBy(t, stop, tr, resetHalfOpen, resetAtClose, synTimeout)
			if lost < old-slack || lost > old+slack || lost < open/2 {
				t.Errorf("drain: %d were lost, want %d ± %d", lost, old, slack)
			}
		default:
			if tr.Lost > restarts {
				t.Errorf("migrate: lost %v", tr.LostByCause)
			}
		}
	}
}

// checkRelay checks what the trial reports about the delay of packets.
func checkRelay(t *testing.T, what string, trip time.Duration, tr *results.Trial) {
	t.Helper()
	r := tr.RoundTrip
	if r == nil || r.AskedNS != int64(trip) {
		t.Fatalf("%s: round trip %+v, want %v", what, r, trip)
	}
	if r.By == results.ByNetem {
		return
	}
	if r.Relay == nil {
		t.Fatalf("%s: delayed by %s, which says nothing of itself", what, r.By)
	}
	t.Logf("%s: relay %+v, excess %+v", what, r.Relay, r.Relay.ExcessNS)
	// A served attempt has at least six packets: SYN, SYN-ACK, ACK, request, response with FIN, and
	// the client's FIN.
	few := r.Relay.Packets < 6*tr.Served || r.Relay.HeldMax < 10 || r.Relay.ExcessNS == nil
	if few || r.Relay.Dropped != 0 || r.Relay.CPUNS == nil || *r.Relay.CPUNS <= 0 {
		t.Errorf("%s: relay %+v for %d attempts", what, r.Relay, tr.Attempts)
	}
}

// halfOpenAtClose counts the handshakes that were half-open when steps closed listeners: their SYN
// had arrived, but their last ACK had not. old is the number of these that no new worker served.
func halfOpenAtClose(t *testing.T, r *ledger.Recording, trip time.Duration) (open, old int) {
	t.Helper()
	for k := range r.Facts.Steps {
		step := &r.Facts.Steps[k]
		if step.Closed == nil {
			t.Fatalf("step %d closed no listener", k)
		}
		started := map[int]bool{}
		for _, id := range step.Started {
			started[id] = true
		}
		for i := range r.Samples {
			s := &r.Samples[i]
			syn, ack := ledger.Time(s.Sent).Add(trip/2), ledger.Time(s.Connected).Add(trip/2)
			if syn > *step.Closed || s.Connected != 0 && ack <= *step.Closed {
				continue
			}
			if open++; !s.Served() || !started[s.Worker] {
				old++
			}
		}
	}
	return open, old
}

package main

import (
	"cmp"
	"fmt"
	"testing"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/results"
	"reuseport-bench/servers/testkit"
)

// injected is the number of losses that each injection causes on purpose.
const injected = 137

// Each injection causes exactly injected losses with the given cause, and perhaps losses with
// causes in others.
var injections = []struct {
	name, cause, evidence string // evidence if the kernel reports the loss
	inferred              string // evidence without the kernel's report
	kernel                string // the kernel's report, or "" if there is none
	others                []string
	setup                 string
	validity              string // or "" for lenient
}{
	{
		name: "a firewall drops SYNs", cause: synTimeout, evidence: "kernel", inferred: "client",
		kernel: "segment dropped: netfilter_drop",
		setup: `
server: {fault: {dropped_syns: 137}}
load: {rate: 1000/s, duration: 500ms, timeout: 600ms} # a client repeats a SYN after a second
`},
	{
		name: "a firewall rejects SYNs", cause: "refused", evidence: "kernel", inferred: "client",
		kernel: "segment dropped: netfilter_drop",
		setup: `
server: {fault: {rejected_syns: 137}}
load: {rate: 1000/s, duration: 500ms}
`},
	{
		name: "nobody listens", cause: "refused", evidence: "kernel", inferred: "client",
		kernel: "reset sent: no_socket",
		// The only worker dies after the first burst and before the second.
		others: []string{resetAtClose, workerCrash},
		setup: `
workers: 1
sockets: exclusive
load: {rate: 137/s, duration: 2s, pace: burst, burst: 137}
timeline: [{at: 500ms, do: kill}]
`},
	{
		name: "a listener is closed with a queue", cause: resetAtClose, evidence: "kernel",
		inferred: "worker", kernel: "reset sent: tcp_state",
		// The worker serves one connection while the others arrive. Right after that one it reads
		// the command to close.
		setup: `
workers: 1
sockets: exclusive
accept: blocking
stop: close
server: {work: {sleep: 1s}}
load: {rate: 230/s, duration: 600ms, pace: burst, burst: 138, timeout: 5s}
timeline: [{at: 400ms, do: remove}]
`},
	{
		name: "a queue overflows", cause: "accept_overflow", evidence: "counter",
		inferred: "counter",
		// The worker serves one connection, and nine wait: a queue takes one more than the backlog.
		others: []string{"timeout", queuedUnaccepted},
		setup: `
workers: 1
sockets: exclusive
accept: blocking
server: {work: {sleep: 400ms}, backlog: 8}
load: {rate: 735/s, duration: 200ms}
`, validity: punctual},
	{
		name: "a worker is killed with requests in hand", cause: workerCrash, evidence: "worker",
		inferred: "worker",
		setup: `
workers: 1
sockets: exclusive
server: {kind: http, work: {sleep: 2s}}
load: {rate: 137/s, duration: 1s, pace: burst, burst: 137, timeout: 5s}
timeline: [{at: 900ms, do: kill}]
`},
	{
		name: "the client aborts", cause: "client", evidence: "client", inferred: "client",
		setup: `
load: {rate: 1000/s, duration: 500ms, aborts: 137}
`},
}

func TestKernelInjectedLosses(t *testing.T) {
	requireLab(t)
	t.Parallel()
	for _, in := range injections {
		t.Run(in.name, func(t *testing.T) {
			run, stderr, status := newProgram(t).run(t,
				"name: injected\nabout: "+in.name+".\ntrials: 1\n"+in.setup+
					cmp.Or(in.validity, lenient))
			if status != 0 {
				t.Fatalf("exit status %d:\n%s", status, stderr)
			}
			checkTrials(t, run)
			tr := run.Scenarios[0].Variants[0].Trials[0]
			if got := tr.LostByCause[in.cause]; got != injected {
				t.Errorf("%d lost by %s, by cause %v, want %d: %+v", got, in.cause, tr.LostByCause,
					injected, tr.Ledger)
			}
			lostOnlyBy(t, in.name, tr, append(in.others, in.cause)...)
			want := in.inferred
			if netlab.AsRoot() && traced(tr) {
				want = in.evidence
			} else if testkit.Required() {
				t.Errorf("the kernel was not asked: %+v", tr.Trace)
			}
			by := map[string]int{}
			for _, l := range tr.Losses {
				if l.Cause == in.cause {
					by[fmt.Sprintf("%s %s", l.Evidence, l.Kernel)]++
				}
			}
			t.Logf("%s: evidence %v; trace %+v", in.cause, by, tr.Trace)
			for _, l := range tr.Losses {
				if l.Cause == in.cause &&
					(l.Evidence != want || want == "kernel" && in.kernel != "" &&
						l.Kernel != in.kernel) {
					t.Fatalf("%s: evidence %s %q, want %s %q", l.Cause, l.Evidence, l.Kernel, want,
						in.kernel)
				}
			}
		})
	}
}

// traced reports whether the trial traced kernel events.
func traced(tr *results.Trial) bool { return tr.Trace != nil && tr.Trace.Unavailable == "" }

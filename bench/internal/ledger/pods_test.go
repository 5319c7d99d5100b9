package ledger

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"reuseport-bench/bench/internal/witness"
	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

// TestForeignPods checks attempts that a Service sends to third-party servers in pods. The ends of
// connections name the pod that served or lost an attempt. Refusals are judged by the routes.
func TestForeignPods(t *testing.T) {
	const live, gone = 1, 0
	server := func(e witness.SocketEnd, pod netip.Addr) witness.SocketEnd {
		e.Server = netip.AddrPortFrom(pod, 8080)
		return e
	}
	refused := got{class: results.ClassRefused, phase: results.PhaseConnect, done: 1}
	for _, user := range []bool{false, true} {
		b := testBook(t, 6, foreignServer)
		enterGot(b, 0, wasServed) // by the pod that will be gone
		enterGot(b, 1, got{class: results.ClassReset, phase: results.PhaseWait, done: 2})
		enterGot(b, 2, refused)
		enterGot(b, 3, got{class: results.ClassTimeout, phase: results.PhaseConnect, done: 900})
		enterGot(b, 4, wasServed) // by the new pod
		enterGot(b, 5, wasServed)
		f := watched(
			server(servedEnd(b, 0), gonePod),
			server(endOf(b, 1, witness.ClosedUnread, 0, requestSize, 0, b.scheduled(1)+1*ms),
				gonePod),
			server(servedEnd(b, 4), livePod), server(servedEnd(b, 5), livePod),
		)
		if user {
			untraced(f)
		}
		trigger, closed := b.scheduled(1), b.scheduled(1)+1*ms
		f.Routes = &Routes{
			Service: service, Translations: map[netip.AddrPort]netip.Addr{b.sources.At(3): gonePod},
			Pods: []Pod{
				{Addr: gonePod, Worker: gone, Routed: []Span{{-8 * ms, b.scheduled(3) + 1*ms}},
					Listens: -9 * ms, Gone: closed, Silent: Never},
				{Addr: livePod, Worker: live, Routed: []Span{{b.scheduled(3) + 1*ms, Never}},
					Listens: b.scheduled(3), Gone: Never, Silent: Never},
			},
		}
		f.Workers = []Worker{
			{ID: gone, Pod: gonePod, Ready: new(Time(-9 * ms)), Closed: &closed},
			{ID: live, Generation: 1, Pod: livePod, Ready: new(b.scheduled(3))},
		}
		f.Closings = []Closing{{Worker: gone, From: trigger, To: closed, OwnsQueue: true}}
		f.Steps = []Step{{Do: "rolling-update", At: trigger, Trigger: &trigger, Closed: &closed,
			Stopped: []int{gone}, Started: []int{live}}}
		a := b.Close(f)
		for i, want := range map[int]Verdict{
			1: {Cause: cause.ClosedByWorker, Worker: gone},
			2: {Cause: cause.StaleEndpoint, Worker: gone},
			3: {Cause: cause.StaleEndpoint, Worker: gone},
		} {
			if got := a.Verdict(i); got.Cause != want.Cause || got.Worker != want.Worker ||
				!got.Explained {
				t.Errorf("user %v: attempt %d: got %+v, want %+v", user, i, got, want)
			}
		}
		var r results.Trial
		a.Fill(&r)
		want := []results.Worker{
			{ID: gone, Name: "pod 0", Generation: 1, Accepted: 2, Served: 1},
			{ID: live, Name: "pod 1", Generation: 2, Accepted: 2, Served: 2},
		}
		if r.Residual != 0 || !slices.EqualFunc(r.Workers, want, func(a, b results.Worker) bool {
			return a.ID == b.ID && a.Name == b.Name && a.Generation == b.Generation &&
				a.Accepted == b.Accepted && a.Served == b.Served
		}) {
			t.Errorf("user %v: residual %d, workers %+v, want %+v", user, r.Residual, r.Workers,
				want)
		}
		step := a.Step(0)
		if takeover := b.scheduled(4) + 1*ms - trigger; step.TakeoverNS == nil ||
			*step.TakeoverNS != int64(takeover) {
			t.Errorf("user %v: takeover %v, want %v", user, step.TakeoverNS,
				time.Duration(takeover))
		}
	}
}

// TestForeignSilentNode checks that a timeout on a kept connection to a silent node is blamed on
// the node, although the server there still has the connection when the trial ends.
func TestForeignSilentNode(t *testing.T) {
	b := testBook(t, 2, foreignServer, func(l *Load) { l.Reuses = true })
	enterGot(b, 0, wasServed)
	enterGot(b, 1, got{
		class: results.ClassTimeout, phase: results.PhaseWait, done: 900, source: 1,
	})
	e := endOf(b, 0, witness.StillOpen, requestSize, 0, answerSize, 0)
	e.Closed, e.Ended, e.Server = 0, 0, netip.AddrPortFrom(gonePod, 8080)
	f := watched(e)
	f.Workers = []Worker{{ID: 0, Pod: gonePod}}
	f.Routes = &Routes{
		Service: service, Translations: map[netip.AddrPort]netip.Addr{b.sources.At(0): gonePod},
		Pods: []Pod{{Addr: gonePod, Routed: []Span{{-8 * ms, Never}}, Listens: -9 * ms,
			Gone: b.scheduled(1), Silent: b.scheduled(1)}},
	}
	got := b.Close(f).Verdict(1)
	if got.Cause != cause.StaleConnection || got.Worker != 0 {
		t.Errorf("got %+v, want %s of worker 0", got, cause.StaleConnection)
	}
}

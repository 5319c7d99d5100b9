package ledger

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/cause"
)

func causes(a *Account) map[string]int {
	n := map[string]int{}
	for i := range a.Attempts() {
		if v := a.Verdict(i); v.Cause != "" {
			n[v.Cause]++
		}
	}
	return n
}

// A killed worker explains at most one connection that is in no journal, because its thread writes
// each accept to the journal before the next accept. Two killed workers explain two such
// connections.
func TestKillsAreCounted(t *testing.T) {
	kill := func(worker int) Closing {
		return Closing{Worker: worker, From: 1 * ms, To: 4 * ms, Killed: true}
	}
	for _, tt := range []struct {
		name     string
		closings []Closing
		events   map[netip.AddrPort][]Event
		want     map[string]int
	}{
		{"one killed", []Closing{kill(7)}, nil, map[string]int{cause.WorkerCrash: 1, cause.Unknown: 2}},
		{"two killed", []Closing{kill(7), kill(8)}, nil, map[string]int{cause.WorkerCrash: 2, cause.Unknown: 1}},
		{"one killed, and the kernel names its connection", []Closing{kill(7)},
			map[netip.AddrPort][]Event{netip.MustParseAddrPort("127.64.0.1:10001"): {{
				At: 2 * ms, Kind: ResetSent, Reason: "tcp_state", Socket: 9,
				Worker: 7, FromServer: true,
			}}},
			map[string]int{cause.WorkerCrash: 1, cause.Unknown: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 3)
			for i := range 3 {
				enter(b, i, account{class: results.ClassReset, phase: results.PhaseWait, done: 2})
			}
			f := &Facts{Duration: time.Second, Closings: tt.closings}
			if tt.events != nil {
				f.Trace = &Trace{Events: tt.events}
			}
			if diff := cmp.Diff(causes(b.Close(f)), tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

// Full queues explain at most as many lost attempts as ListenOverflows has counted. Attempts with a
// kernel event for a full queue use up overflows, too.
func TestOverflowsAreCounted(t *testing.T) {
	silent := account{class: results.ClassTimeout, phase: results.PhaseConnect, done: 900}
	for _, tt := range []struct {
		name   string
		traced int // attempts with a kernel event for their dropped ACK
		want   map[string]int
	}{
		{"by the counter alone", 0, map[string]int{cause.AcceptOverflow: 4, cause.SYNTimeout: 2}},
		{"with kernel events of three", 3, map[string]int{cause.AcceptOverflow: 4, cause.SYNTimeout: 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := testBook(t, 10)
			f := overflow(4)
			f.Trace = &Trace{Events: map[netip.AddrPort][]Event{}}
			for i := range 10 {
				if i >= 6 {
					enter(b, i, served)
					continue
				}
				enter(b, i, silent)
				if i >= 6-tt.traced {
					f.Trace.Events[b.sources.At(uint64(i))] = []Event{{
						At: Time(i) * ms, Kind: SegmentDropped, Reason: reasonQueueFull,
						Worker: -1, FromServer: true,
					}}
				}
			}
			a := b.Close(f)
			if diff := cmp.Diff(causes(a), tt.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
			kernel := 0
			for i := range a.Attempts() {
				if a.Verdict(i).Evidence == ByKernel {
					kernel++
				}
			}
			if kernel != tt.traced {
				t.Errorf("%d verdicts by kernel evidence, want %d", kernel, tt.traced)
			}
		})
	}
}

// Full queues explain at most as many resets as EmbryonicRsts has counted. Each such reset also
// uses up an overflow, so fewer overflows remain to explain lost SYNs.
func TestAbortsAreCounted(t *testing.T) {
	b := testBook(t, 8)
	for i := range 8 {
		a := account{class: results.ClassReset, phase: results.PhaseWait, done: 2}
		if i >= 3 {
			a = account{class: results.ClassTimeout, phase: results.PhaseConnect, done: 900}
		}
		enter(b, i, a)
	}
	f := overflow(6)
	f.Moved["TcpExtEmbryonicRsts"] = 2
	want := map[string]int{cause.AcceptOverflow: 6, cause.SYNTimeout: 1, cause.Unknown: 1}
	if diff := cmp.Diff(causes(b.Close(f)), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// Neither the order of kernel events nor duplicates among them change the verdict. Events on other
// connections, or at other times, are ignored.
func TestEventsOfOthers(t *testing.T) {
	mine := Event{At: 1 * ms, Kind: ResetSent, Reason: "tcp_state", Worker: 7, FromServer: true}
	again := mine
	again.At, again.Reason = mine.At+10_000, "again"
	late, early, own := mine, mine, mine
	late.At, late.Reason = 500*ms, "late"
	early.At, early.Reason = -500*ms, "early"
	own.FromServer, own.Reason = false, "the client's own"
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		events := []Event{mine, again, late, early, own, mine}
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		b := testBook(t, 2)
		enter(b, 0, account{class: results.ClassReset, phase: results.PhaseWait, done: 2})
		enter(b, 1, account{class: results.ClassReset, phase: results.PhaseWait, done: 2})
		trace := &Trace{Events: map[netip.AddrPort][]Event{attempt0: events}}
		a := b.Close(&Facts{Duration: time.Second, Trace: trace})
		got := a.Verdict(0)
		if got.Cause != cause.ResetAtClose || got.Kernel.Reason != "tcp_state" || got.Worker != 7 {
			t.Errorf("got %+v by %+v", got, got.Kernel)
		}
		if got := a.Verdict(1); got.Cause != cause.Unknown {
			t.Errorf("a connection without events: %+v", got)
		}
	}
}

// A trial is also judged without its kernel events, and Agreement compares the two causes of each
// loss.
func TestAgreement(t *testing.T) {
	b := testBook(t, 1)
	enter(b, 0, account{class: results.ClassReset, phase: results.PhaseWait, done: 2})
	f := kernelSays(Event{Kind: ResetSent, Flags: 0x18, Worker: -1}, Closing{OwnsQueue: true})
	want := []results.Agreement{{
		Inferred: cause.ResetAtClose, Traced: cause.ResetHalfOpen, Attempts: 1,
	}}
	if diff := cmp.Diff(b.Close(f).Agreement(), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
	f.Trace = nil
	if got := b.Close(f).Agreement(); got != nil {
		t.Errorf("without kernel events: %+v", got)
	}
}

// If rules lead to a pod again after a break, attempts that are sent to the pod then are not lost
// because of an old conntrack entry.
func TestRoutedAgain(t *testing.T) {
	f := &Facts{Duration: time.Second, Routes: &Routes{
		Translations: map[netip.AddrPort]netip.Addr{},
		Pods: []Pod{{
			Addr: gonePod, Worker: 3, Listens: -9 * ms, Gone: 30 * ms, Silent: Never,
			Routed: []Span{{-8 * ms, 10 * ms}, {20 * ms, 50 * ms}},
		}},
	}}
	b := testBook(t, 70)
	want := map[int]string{
		15: cause.StaleConntrack, 25: cause.SYNTimeout,
		40: cause.StaleEndpoint, 60: cause.StaleConntrack,
	}
	for i := range 70 {
		if want[i] == "" {
			enter(b, i, served)
			continue
		}
		f.Routes.Translations[b.sources.At(uint64(i))] = gonePod
		enter(b, i, account{class: results.ClassTimeout, phase: results.PhaseConnect, done: 1})
	}
	a := b.Close(f)
	for i, cause := range want {
		if got := a.Verdict(i); got.Cause != cause {
			t.Errorf("sent at %d ms: %s, want %s", i, got.Cause, cause)
		}
	}
}

// If attempts use ports in turn, the conntrack entry of a port may belong to a later attempt.
func TestRoutedSharedPorts(t *testing.T) {
	f := &Facts{Duration: time.Second, Routes: &Routes{
		SharedPorts: true, Translations: map[netip.AddrPort]netip.Addr{attempt0: livePod},
		Pods: []Pod{
			{Addr: gonePod, Worker: 1, Listens: -9 * ms, Gone: 1 * ms, Silent: Never, Routed: []Span{{-8 * ms, 150 * ms}}},
			{Addr: livePod, Worker: 2, Listens: 300 * ms, Gone: Never, Silent: Never, Routed: []Span{{300 * ms, Never}}},
		},
	}}
	b := testBook(t, 301, func(l *Load) { l.Ports = 100 })
	for i := range 301 {
		switch i {
		case 100:
			enter(b, i, account{class: results.ClassRefused, phase: results.PhaseConnect})
		case 200:
			silent := account{class: results.ClassTimeout, phase: results.PhaseConnect, done: 700}
			enter(b, i, silent)
		default:
			enter(b, i, served)
		}
	}
	a := b.Close(f)
	if got := a.Verdict(100); got.Cause != cause.StaleEndpoint || got.Worker != 1 {
		t.Errorf("refused by the first pod: %s by worker %d", got.Cause, got.Worker)
	}
	if got := a.Verdict(200); got.Cause != cause.NoEndpoint {
		t.Errorf("no answer while no rule led to a pod: %s", got.Cause)
	}
}

// Every rule has a unique name, a cause, evidence and an explanation. The last rule matches every
// attempt.
func TestRulesAreComplete(t *testing.T) {
	var names []string
	for _, r := range rules {
		if r.why == "" || r.evidence == NoEvidence || r.cause == "" {
			t.Errorf("rule %q lacks its cause, evidence or why", r.name)
		}
		if slices.Contains(names, r.name) {
			t.Errorf("two rules are called %q", r.name)
		}
		names = append(names, r.name)
	}
	if _, ok := rules[len(rules)-1].match(nil); !ok {
		t.Error("the last rule does not match everything")
	}
}

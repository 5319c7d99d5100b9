package ledger

import (
	"fmt"
	"slices"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// What becomes of an attempt behind a Service is decided by where the rules lead when its SYN
// arrives:
//
//   - to a pod where none listens: the attempt is lost, however long its client waits. A pod that has a
//     network refuses. The silence of one that has none lasts: connection tracking keeps the unanswered
//     entry, and repeated SYNs follow it.
//   - to no pod: the rules reject the SYN by ICMP. The message arrives while the client is in
//     connect(2), which owns the socket, and is only a soft error (sk_err_soft, tcp_v4_err in
//     net/ipv4/tcp_ipv4.c). Nothing is remembered of the SYN, so its repetition meets the rules anew. If
//     it is rejected too, the attempt is refused: the timer that sent it does not own the socket.
//
// So only the first repetition matters, and net.ipv4.tcp_syn_linear_timeouts, which is about the
// later ones, does not.
const (
	// synRepeated is when a SYN is sent again: after 1 s (TCP_TIMEOUT_INIT in include/net/tcp.h),
	// plus what the timer wheel rounds up, up to 32 ms with HZ=250 and 64 ms with HZ=1000
	// (kernel/time/timer.c).
	synRepeated = 1020 * time.Millisecond
	// synRepeatedFrom and synRepeatedBy are the bounds of that, with HZ=100 as well: a client that
	// gives up in between may have sent its SYN twice, or not.
	synRepeatedFrom, synRepeatedBy = time.Second, 1100 * time.Millisecond
	// icmpPerSecond is how many ICMP messages a network namespace sends at most
	// (net.ipv4.icmp_msgs_per_sec by default: Documentation/networking/ip-sysctl.rst). Rejections
	// beyond that are silent, and their SYNs are repeated once more.
	icmpPerSecond = 1000
)

// Predict returns how many attempts are to be expected lost because of step k, from the rate, the
// instants of rules and listeners, and for how long clients wait; never from an attempt. Where that
// cannot be said it returns why. There must be Routes.
func (a *Account) Predict(k int) (lost float64, unknown string) {
	l := a.book.load
	from, to := a.Window(k)
	e := a.facts.Routes.expect(from, to, l.Timeout)
	rate := float64(len(a.book.attempts)) / a.facts.Duration.Seconds()
	switch {
	case l.Reuses:
		return 0, "connections are kept, so an attempt need not ask the rules"
	case l.Tries > 1:
		return 0, "clients try again"
	case l.closed():
		return 0, "a closed loop has no rate"
	case l.Shape.Pace == vocabulary.PaceRamp, len(l.Shape.Stages) > 0:
		return 0, "the rate changes during the trial"
	case e.nowhere > 0 && synRepeatedFrom <= l.Timeout && l.Timeout < synRepeatedBy:
		return 0, fmt.Sprintf("load.timeout of %v ends about when a rejected SYN is repeated; "+
			"set it below %v or to %v and more", l.Timeout, synRepeatedFrom, synRepeatedBy)
	case e.again > 0 && 2*rate > icmpPerSecond:
		return 0, fmt.Sprintf("at %.0f/s the kernel leaves out some of the rejections "+
			"(net.ipv4.icmp_msgs_per_sec=%d), and clients whose repeated SYN meets silence wait on",
			rate, icmpPerSecond)
	}
	return rate * e.lost / 1e9, ""
}

// Dead returns for how long, from step k to the next one or the end, no pod listened where clients
// were sent: weighed with the share of the pods that were dead; all of it counts while they were
// sent to none. It is false where attempts are not one connection each. There must be Routes.
func (a *Account) Dead(k int) (time.Duration, bool) {
	l := a.book.load
	from, to := a.Window(k)
	return time.Duration(a.facts.Routes.expect(from, to, l.Timeout).dead), !l.Reuses && l.Tries == 1
}

// expected is time, in nanoseconds, in which attempts of one connection each meet no listener.
type expected struct {
	dead    float64 // the SYN, weighed with the share of the pods where none listens
	nowhere float64 // the SYN meets no pod; all of it is dead
	again   float64 // and its repetition, in the client's time, no pod either
	lost    float64 // the SYN, and where it is repeated its repetition; weighed
}

// expect returns what attempts due in a window meet, whose clients wait for patience.
func (r *Routes) expect(from, to Time, patience time.Duration) (e expected) {
	edges := []Time{from, to}
	add := func(instants ...Time) {
		for _, at := range instants {
			for _, edge := range []Time{at, at.Add(-synRepeated)} {
				if from < edge && edge < to {
					edges = append(edges, edge)
				}
			}
		}
	}
	for _, p := range r.Pods {
		add(p.Listens, p.Gone)
		for _, s := range p.Routed {
			add(s.From, s.Until)
		}
	}
	slices.Sort(edges)
	for i := 1; i < len(edges); i++ {
		at, length := edges[i-1], float64(edges[i]-edges[i-1])
		share, pods := r.dead(at)
		e.dead += share * length
		if pods == 0 {
			e.nowhere += length
			if patience >= synRepeatedBy {
				if share, pods = r.dead(at.Add(synRepeated)); pods == 0 {
					e.again += length
				}
			}
		}
		e.lost += share * length
	}
	return e
}

// dead returns how many pods clients were sent to at an instant, and the share of them where none
// listened: all, where clients were sent to none.
func (r *Routes) dead(at Time) (share float64, pods int) {
	dead := 0
	for _, p := range r.Pods {
		if slices.ContainsFunc(p.Routed, func(s Span) bool { return s.From <= at && at < s.Until }) {
			pods++
			if at < p.Listens || p.Gone <= at {
				dead++
			}
		}
	}
	if pods == 0 {
		return 1, 0
	}
	return float64(dead) / float64(pods), pods
}

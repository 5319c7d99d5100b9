package ledger

import (
	"fmt"
	"slices"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

// The fate of an attempt behind a Service depends on where the rules lead when its SYN arrives:
//
//   - to a pod that does not listen: the attempt is lost, however long its client waits. A pod
//     that still has a network refuses it. A pod without one never answers. Repeated SYNs go to
//     the same pod, because connection tracking keeps the unanswered entry.
//   - to no pod: the rules reject the SYN by ICMP. The message arrives while the client is in
//     connect(2), which owns the socket, and is only a soft error (sk_err_soft, tcp_v4_err in
//     net/ipv4/tcp_ipv4.c). Connection tracking keeps no entry, so a repeated SYN meets the rules
//     afresh. If it is rejected too, the attempt is refused: the timer that sent it does not own
//     the socket.
//
// So only the first repetition of the SYN matters. net.ipv4.tcp_syn_linear_timeouts does not
// matter, because it governs only later repetitions.
const (
	// synRepeated is the time after which a SYN is sent again. It is 1 s (TCP_TIMEOUT_INIT in
	// include/net/tcp.h) plus the rounding by the timer wheel, which is at most 32 ms with HZ=250
	// and 64 ms with HZ=1000 (kernel/time/timer.c).
	synRepeated = 1020 * time.Millisecond
	// synRepeatedFrom and synRepeatedBy are the lower and upper bound of that time for any HZ. A
	// client whose timeout lies between them may or may not have repeated its SYN.
	synRepeatedFrom, synRepeatedBy = time.Second, 1100 * time.Millisecond
	// icmpPerSecond is the maximum number of ICMP messages that a network namespace sends per
	// second (net.ipv4.icmp_msgs_per_sec by default: Documentation/networking/ip-sysctl.rst). Above
	// that rate, SYNs are dropped without an ICMP message, and clients repeat them once more.
	icmpPerSecond = 1000
)

// Predict returns the expected number of attempts lost because of step k. It computes that number
// from the rate, the instants at which rules and listeners changed, and the clients' timeout, but
// not from the outcomes of attempts. If no prediction is possible, unknown is the reason. The facts
// must have Routes.
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
		return 0, fmt.Sprintf("load.timeout of %v is too close to the repetition of a rejected "+
			"SYN; set it below %v, or to at least %v", l.Timeout, synRepeatedFrom, synRepeatedBy)
	case e.nowhereTwice > 0 && 2*rate > icmpPerSecond:
		return 0, fmt.Sprintf("at %.0f/s the kernel omits some rejections "+
			"(net.ipv4.icmp_msgs_per_sec=%d), and then clients keep waiting", rate, icmpPerSecond)
	}
	return rate * e.lost / 1e9, ""
}

// Dead returns the total time, in the window of step k, during which rules sent clients to pods
// that did not listen. Each part of that time is multiplied by the share of such pods among the
// pods in the rules; if the rules had no pods, the share is 1. Dead returns false unless each
// attempt opens exactly one connection. The facts must have Routes.
func (a *Account) Dead(k int) (time.Duration, bool) {
	l := a.book.load
	from, to := a.Window(k)
	return time.Duration(a.facts.Routes.expect(from, to, l.Timeout).dead), !l.Reuses && l.Tries == 1
}

// expected holds, for attempts that open one connection, the total times, in ns, during which an
// attempt finds no listener.
type expected struct {
	dead         float64 // the SYN finds no listener; weighted by the share of pods without one
	nowhere      float64 // the SYN finds no pod; part of dead
	nowhereTwice float64 // the SYN and its repetition find no pod, and the client waits for both
	lost         float64 // neither the SYN nor its repetition finds a listener; weighted likewise
}

// expect returns the times, within the window, during which attempts find no listener if their
// clients wait for timeout.
func (r *Routes) expect(from, to Time, timeout time.Duration) (e expected) {
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
			if timeout >= synRepeatedBy {
				if share, pods = r.dead(at.Add(synRepeated)); pods == 0 {
					e.nowhereTwice += length
				}
			}
		}
		e.lost += share * length
	}
	return e
}

// dead returns the number of pods to which clients were sent at an instant, and the share of these
// pods that did not listen. The share is 1 if there were no such pods.
func (r *Routes) dead(at Time) (share float64, pods int) {
	dead := 0
	for _, p := range r.Pods {
		routed := func(s Span) bool { return s.From <= at && at < s.Until }
		if slices.ContainsFunc(p.Routed, routed) {
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

package stats

import "math"

// What queueing theory expects of the mean time that a request waits for a worker, in the unit of
// the mean service time: independent arrivals (Poisson) at a load of rho per server, 0 to 1, and
// service times whose coefficient of variation is cv (0: all equal). Infinity from rho = 1 on.

// WaitOwnQueues is for servers with a queue each, among which arrivals are spread at random: M/G/1,
// by the formula of Pollaczek and Khinchine, which is exact; with equal service times M/D/1.
// Source: Kleinrock, Queueing Systems I (1975), 5.6.
func WaitOwnQueues(rho, cv float64) float64 {
	if rho >= 1 {
		return math.Inf(1)
	}
	return rho * (1 + cv*cv) / (2 * (1 - rho))
}

// WaitOneQueue is for n servers that share one queue: M/G/n, by the approximation of Lee and
// Longton (Operational Research Quarterly 10, 1959), which scales M/M/n by (1+cv²)/2. It is exact
// for M/M/n and M/G/1, and within some 10 % for M/D/n at loads that matter.
func WaitOneQueue(n int, rho, cv float64) float64 {
	if rho >= 1 {
		return math.Inf(1)
	}
	return (1 + cv*cv) / 2 * erlangC(n, rho) / (float64(n) * (1 - rho))
}

// erlangC is the probability that an arrival finds all n servers busy, by the usual recursion over
// Erlang's B formula.
func erlangC(n int, rho float64) float64 {
	offered, blocked := float64(n)*rho, 1.
	for k := 1; k <= n; k++ {
		blocked = offered * blocked / (float64(k) + offered*blocked)
	}
	return blocked / (1 - rho*(1-blocked))
}

package stats

import "math"

// These functions return the mean time that a request waits for a worker, as queueing theory
// predicts it, in units of the mean service time. Arrivals are independent (Poisson). rho is the
// load per server, 0 to 1. cv is the coefficient of variation of the service times (0: all equal).
// The wait is infinite if rho ≥ 1.

// WaitOwnQueues returns the wait for servers with one queue each, among which arrivals are spread
// at random: M/G/1, or M/D/1 if service times are equal. It uses the exact formula of Pollaczek and
// Khinchine. Source: Kleinrock, Queueing Systems I (1975), 5.6.
func WaitOwnQueues(rho, cv float64) float64 {
	if rho >= 1 {
		return math.Inf(1)
	}
	return rho * (1 + cv*cv) / (2 * (1 - rho))
}

// WaitOneQueue returns the wait for n servers that share one queue: M/G/n. It uses the
// approximation of Lee and Longton (Operational Research Quarterly 10, 1959), which multiplies
// M/M/n by (1+cv²)/2. It is exact for M/M/n and M/G/1, and within about 10 % for M/D/n at relevant
// loads.
func WaitOneQueue(n int, rho, cv float64) float64 {
	if rho >= 1 {
		return math.Inf(1)
	}
	return (1 + cv*cv) / 2 * erlangC(n, rho) / (float64(n) * (1 - rho))
}

// erlangC returns the probability that an arrival finds all n servers busy. It uses the usual
// recursion for Erlang's B formula.
func erlangC(n int, rho float64) float64 {
	offered, blocked := float64(n)*rho, 1.
	for k := 1; k <= n; k++ {
		blocked = offered * blocked / (float64(k) + offered*blocked)
	}
	return blocked / (1 - rho*(1-blocked))
}

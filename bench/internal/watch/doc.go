// Package watch observes a trial while its load runs: what else the machine does, how long the
// accept queues are, what the kernel resets and drops, and what a selector costs. Each observer is
// started and stopped, and then returns its part of the trial. Observers act as rarely as they can,
// and a Meter adds up their cost.
package watch

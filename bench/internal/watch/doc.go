// Package watch observes a trial while its load runs: what else the machine does, how long the
// accept queues are, what the kernel resets and drops, and what a selector costs. Each observer is
// started, stopped, and then asked for its part of the trial. None acts more often than it must,
// and a Meter adds up what they cost.
package watch

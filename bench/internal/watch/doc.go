// Package watch observes a trial while its load runs: the machine's other activity, the lengths of
// the accept queues, the segments that the kernel resets and drops, and the cost of a selector.
// Each observer is started and stopped, and then returns its part of the trial. Observers read as
// rarely as they can, and a Meter adds up the cost of reading. A reading of the machine is called a
// look.
package watch

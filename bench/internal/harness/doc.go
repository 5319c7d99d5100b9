// Package harness is the main path: a plan becomes trials, a trial becomes a result, and a run
// collects them.
//
//	plan.go      which trials, in which order, on which CPUs: a pure function
//	run.go       carries a plan out, repeats what was invalid, stores every trial at once
//	trial.go     one trial: lab, workers, load, timeline
//	timeline.go  fires the steps
//	books.go     joins what the load, the workers and the kernel say of each attempt
//	cause.go     why an attempt was lost, and what that rests on
//	measure.go   histograms, and gap, outage, stall, takeover and tail of each step
//	verdict.go   whether the trial measured the servers
package harness

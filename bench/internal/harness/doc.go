// Package harness carries a plan out: it runs its trials in order, repeats those that were invalid,
// adds blocks while gates are undecided, stores every trial at once, and concludes the run.
package harness

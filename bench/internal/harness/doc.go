// Package harness carries out a plan: it runs the trials in order, repeats invalid ones, adds
// blocks while gates are undecided, stores every trial when it ends, and concludes the run.
package harness

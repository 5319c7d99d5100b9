// Package harness carries out a plan: it runs the trials in order, repeats invalid ones, stores
// every trial when it ends, adds blocks at each look while gates are undecided, and concludes the
// run. A look is a judgement of the gates on the trials so far.
package harness

// Package trial carries out one trial on real processes: it sets up a lab with workers and load
// processes in it, drives the load while a timeline of steps replaces, kills, stalls and moves the
// workers, takes everything down, and hands what it saw to the ledger.
//
//	trial.go     the whole of it, on one screen
//	setup.go     lab, cluster, workers, proxy, load processes
//	drive.go     load and timeline beside each other
//	takedown.go  the end of the processes, and the facts
//	result.go    the trial as it is stored
//	park.go      parks processes for the workers that steps will start
//	timeline.go  carries the steps out; rollout.go those of pods, proxy.go those behind HAProxy
//	hold.go      holds up handshakes around a stop
//	rig.go       a lab with workers alone, for what is measured beside the trials
package trial

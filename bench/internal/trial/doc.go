// Package trial carries out one trial on real processes. It sets up a lab with workers and load
// processes, and drives the load while a timeline of steps replaces, kills, stalls and moves the
// workers. Then it takes everything down, and gives what it saw to the ledger.
//
//	trial.go     the whole trial, on one screen
//	setup.go     makes the lab, cluster, workers, proxy and load processes
//	drive.go     runs load and timeline side by side
//	takedown.go  ends the processes and collects the facts
//	result.go    makes the stored form of the trial
//	park.go      parks processes for the workers that steps will start
//	timeline.go  carries out the steps; rollout.go those of pods, proxy.go those behind HAProxy
//	hold.go      holds up handshakes around a stop
//	command.go   starts, restarts and watches a server that this program did not write
//	rig.go       makes a lab with workers alone, for measurements outside trials
package trial

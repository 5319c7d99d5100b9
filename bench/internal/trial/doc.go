// Package trial carries out one trial on real processes. It sets up a lab with workers and load
// processes, and drives the load while a timeline of steps replaces, kills, stalls and moves the
// workers. Then it ends all processes, and passes the collected facts to the ledger.
//
//	trial.go     the whole trial, on one screen
//	setup.go     makes the lab, cluster, workers, proxy and load processes
//	drive.go     runs load and timeline side by side
//	takedown.go  ends the processes and collects the facts
//	result.go    makes the stored form of the trial
//	park.go      parks processes for the workers that steps will start
//	timeline.go  carries out the steps: rollout.go those on pods, proxy.go those behind HAProxy
//	hold.go      holds up handshakes around a stop
//	command.go   starts, restarts and watches a third-party server
//	rig.go       makes a lab with servers only, for measurements outside trials
package trial

package main

import "reuseport-bench/bench/internal/reference"

// The exit statuses that other programs rely on. exitStatuses describes them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotMeasured = 3
	exitInterrupted = 130
)

// exitStatuses describes each exit status.
func exitStatuses() []reference.Status {
	return []reference.Status{
		{Code: exitOK, Doc: "ok"},
		{Code: exitFailed, Doc: "a gate failed, or something got worse"},
		{Code: exitUsage, Doc: "usage or bad input"},
		{Code: exitNotMeasured, Doc: "could not measure: too few valid trials, none in a " +
			"scenario's first two blocks (it is stopped), a gate undecided, a baseline that " +
			"differs from itself, a capability that every variant lacks; or standard output " +
			"could not be written"},
		{Code: exitInterrupted, Doc: "interrupted by SIGINT, SIGTERM, SIGHUP or SIGQUIT, and " +
			"cleaned up; a second signal ends the program at once"},
	}
}

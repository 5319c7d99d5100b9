// Package kernel reads what the running Linux kernel knows about a trial, and finds out what it can do.
//
// Readers, one file each: the protocol counters of a network namespace (counters.go), the time a processor or a process
// was kept waiting (sched.go), the accept queue of a listening socket (listen.go), those of all of a namespace (queues.go),
// the connection requests before each (halfopen.go, with a program in halfopen.c), and the facts about the machine that
// a figure depends on (environment.go). One tracer: why connections were ended or refused, as it happens (losses.go, with
// programs in losses.c).
//
// Probes (probe.go) answer "does it work here?" by doing it, never by comparing versions: distributions backport, containers
// forbid, and the bug that matters most to a migrated connection was fixed in some stable series and not in others. Each
// probe that needs a network makes its own private namespace, which is gone when the probe returns.
//
// The package is for Linux only.
package kernel

import "errors"

// ErrNotSupported says that this kernel, or its configuration, does not offer what was asked for: a file under /proc that
// is not there, a column that an older kernel does not print. It is never used for missing permission.
var ErrNotSupported = errors.New("not available on this kernel")

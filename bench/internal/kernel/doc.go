// Package kernel reads what the running Linux kernel knows about a trial.
//
// Readers, one file each: the protocol counters of a network namespace (counters.go), the time a
// processor or a process was kept waiting (sched.go), the accept queues of a namespace (queues.go),
// the connection requests before each (halfopen.go, with a program in halfopen.c), the memory of a
// process (memory.go), and the facts about the machine that a figure depends on (environment.go).
// One tracer: why connections were ended or refused, as it happens (losses.go, with programs in
// losses.c). What the kernel can do is found out by package doctor.
//
// The package is for Linux only.
package kernel

import "errors"

// ErrNotSupported says that this kernel, or its configuration, does not offer what was asked for: a
// file under /proc that is not there, a column that an older kernel does not print. It is never
// used for missing permission.
var ErrNotSupported = errors.New("not available on this kernel")

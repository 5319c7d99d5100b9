// Package kernel reads the Linux kernel's data about a trial and about the machine.
//
// It has readers, one file each, for the protocol counters of a network namespace (counters.go),
// the time that threads and CPUs spent waiting (sched.go), the length of accept queues (queues.go),
// the connections that wait in them (unaccepted.go), the half-open connections of each listener
// (halfopen.go, with a program in halfopen.c), the connections that are open (connections.go) and
// those that have ended (obituaries.go), the memory of a process (memory.go), other programs' use
// of the CPUs (activity.go), and the machine itself (environment.go, topology.go). It has one
// tracer, which reports why the kernel ended or refused connections (losses.go, with programs in
// losses.c). Package doctor finds out what the kernel can do.
//
// The package works on Linux only.
package kernel

import "errors"

// ErrNotSupported means that this kernel, or its configuration, lacks a feature, such as a file
// under /proc or a column that only newer kernels print. It is never used for missing permission.
var ErrNotSupported = errors.New("not available on this kernel")

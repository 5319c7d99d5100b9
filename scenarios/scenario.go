// Package scenarios loads, validates and explains scenarios: YAML files that say what to
// start, what load to drive at it, what to do to it meanwhile, and which variants to compare.
//
// A scenario is data. This package knows the vocabulary and which combinations make sense; it
// starts nothing and measures nothing, and imports no other package of this module.
package scenarios

import "time"

// A Scenario is one YAML file, decoded and valid. Expand gives its variants.
type Scenario struct {
	// Name is unique and spelled like the file: lower-case words joined by hyphens.
	Name string `yaml:"name"`
	// About says in a sentence or two which question the scenario answers.
	About string `yaml:"about"`

	// Setup is what the matrix varies; its keys stand at the top level of the file.
	Setup `yaml:",inline"`

	// Matrix is a list of product blocks. Each block's keys are dotted paths into Setup, each
	// with a list of values; the block contributes the product of its lists. Empty: one variant
	// without labels.
	Matrix []Block `yaml:"matrix"`
	// Baseline names the variant that comparisons start from, by its labels. Nil: the first.
	Baseline Labels `yaml:"baseline"`
	// Gates are expectations that make the run fail; see Gate.
	Gates []Gate `yaml:"gates"`

	// Trials is how many blocks to run, 1 to 1000. Default 8.
	Trials int `yaml:"trials"`
	// MinValid is how many valid trials a variant needs before its figures count, 1 to Trials.
	// Default half of Trials, rounded up.
	MinValid int `yaml:"min_valid"`

	// SHA256 is the hex digest of the file as it was read.
	SHA256 string `yaml:"-"`
	// File is where it was read from, for messages.
	File string `yaml:"-"`
}

// Setup is everything a variant can change.
type Setup struct {
	Network string `yaml:"network"` // loopback
	Path    string `yaml:"path"`    // direct
	// Workers is the number of processes in a generation, 1 to 1024.
	Workers int `yaml:"workers"`
	// Sockets is how the workers of a generation listen: "shared" (one socket, which all
	// inherit) or "reuseport" (one each, bound with SO_REUSEPORT).
	Sockets string `yaml:"sockets"`
	// Stop is how a worker ends when a step stops it; see Stops. Needed once the timeline
	// stops workers.
	Stop     string   `yaml:"stop"`
	Server   Server   `yaml:"server"`
	Load     Load     `yaml:"load"`
	Timeline []Step   `yaml:"timeline"`
	Validity Validity `yaml:"validity"`
}

// Server describes the process under test.
type Server struct {
	// Kind is "loop": one thread, one epoll loop that accepts and serves in line.
	Kind string `yaml:"kind"`
	Work Work   `yaml:"work"`
	// Backlog is the listen(2) backlog of each socket, 1 to 65535. Default 4096, the kernel's
	// default for net.core.somaxconn since 5.4.
	Backlog int `yaml:"backlog"`
}

// Work is the service time of one request. At most one field is not zero; all zero: answer at once.
type Work struct {
	// Sleep waits without using the CPU, as a server waiting for a database does.
	Sleep time.Duration `yaml:"sleep"`
	// Burn uses the thread's CPU time (CLOCK_THREAD_CPUTIME_ID), never wall time.
	Burn time.Duration `yaml:"burn"`
}

// Load describes the open-loop load.
type Load struct {
	// Rate is attempts per second, written "2000/s".
	Rate Rate `yaml:"rate"`
	// Duration is how long attempts are scheduled, 100 ms to 1 h.
	Duration time.Duration `yaml:"duration"`
	// Connections is "new": one connection per attempt.
	Connections string `yaml:"connections"`
	// Timeout bounds one attempt, from its sent instant, 1 ms to 1 min. Default 900 ms: under the first SYN
	// retransmission (1 s), so that a SYN dropped at a full queue is a loss and not a latency.
	Timeout time.Duration `yaml:"timeout"`
}

// Rate is a number of attempts per second.
type Rate float64

// Step is an event of the timeline.
type Step struct {
	// At is the instant of the first firing, from the first scheduled attempt.
	At time.Duration `yaml:"at"`
	// Every repeats the step until the load ends. 0: once.
	Every time.Duration `yaml:"every"`
	// Do is the kind of step; see Steps.
	Do string `yaml:"do"`
	// For is the length of a step that lasts (stall).
	For time.Duration `yaml:"for"`
}

// Validity bounds what a trial may show before it counts as a measurement of the servers.
type Validity struct {
	// LagFloor: p99 schedule lag below it never makes a trial invalid. Default 500 µs.
	LagFloor time.Duration `yaml:"lag_floor"`
	// StepLag bounds the schedule lag of any attempt inside a step's window. Default 20 ms.
	StepLag time.Duration `yaml:"step_lag"`
	// Achieved is the smallest share of the offered rate that was sent on schedule. Default 0.99.
	Achieved float64 `yaml:"achieved"`
}

// Block is one product block of a matrix: dotted path → values, in the order of the file.
type Block []Axis

// Axis is one key of a product block.
type Axis struct {
	Key    string
	Values []string
	Line   int // where the key stands in the file
}

// Labels identify a variant: the matrix keys that apply to it and their values.
type Labels map[string]string

// Gate is an expectation over the metrics of the variants it selects.
type Gate struct {
	// When selects variants whose labels include all of these. Empty: every variant.
	When Labels `yaml:"when"`
	// Expect is an expression over the variant's metrics that must be true, for example
	// "lost_by_cause.reset_at_close == 0".
	Expect string `yaml:"expect"`
	Line   int    `yaml:"-"`
}

// Variant is one point of the matrix.
type Variant struct {
	Labels Labels
	Setup  Setup
}

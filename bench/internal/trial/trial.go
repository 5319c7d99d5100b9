package trial

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"time"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
)

// Roles holds a function for each role of a child process. The function returns a command that runs
// this program's binary in that role.
type Roles struct {
	Init, Worker, Load, Relay, Agent, Supervise, Sweep func() *exec.Cmd
	// Pause is the argument with which this program holds the namespaces of a pod's sandbox, and
	// Hold that with which it is the first process of a container for the workers of the lab.
	Pause, Hold string
}

// lead is the time from the end of the preparations to the instant at which the first attempt is
// due.
const lead = 20 * time.Millisecond

// Options are the options of Run.
type Options struct {
	Roles Roles
	Block int
	// KernelTypes caches the kernel's type information (BTF), which loading eBPF programs requires.
	// Reading it takes longer than loading a program, so the trials of a run share the cache. If
	// KernelTypes is nil, each program reads the information again.
	KernelTypes *btf.Cache
	// Kubernetes returns the real Kubernetes of the run, and boots it if necessary. Its nodes may
	// be silent for nodeGrace; 0 means Kubernetes' default. Only variants with ControlReal need it.
	Kubernetes func(ctx context.Context, nodeGrace time.Duration) (*kubernetes.Cluster, error)
	// KeepFacts makes Run return all facts by which the trial was judged, in Outcome.Facts.
	KeepFacts bool
}

// An Outcome is what Run returns about a trial.
type Outcome struct {
	*results.Trial
	Sysctls map[string]string // the sysctls of the trial's lab, by name
	Facts   *ledger.Recording // nil without Options.KeepFacts; its header is incomplete
}

// Run carries out one trial of the variant in its own lab, and removes the lab before it returns.
// Only the lab of a real Kubernetes stays.
// If nothing was measured, it returns an error. If the measurements are unusable, it returns a
// trial that is marked as invalid.
func Run(ctx context.Context, p *plan.Plan, v *plan.Variant, o Options) (_ *Outcome, err error) {
	var c cleanup
	defer func() { err = errors.Join(err, c.run()) }()
	s, err := setUp(ctx, p, v, o, &c)
	if failed := NotStarted(v, err); failed != nil && ctx.Err() == nil {
		return failed, nil
	}
	if err != nil {
		return nil, err
	}
	if err := s.observe(&c); err != nil {
		return nil, err
	}
	if err := s.drive(ctx); err != nil {
		return nil, err
	}
	facts, err := s.takeDown(ctx)
	if err != nil {
		return nil, err
	}
	account := s.book.Close(facts)
	return &Outcome{Trial: s.result(account), Sysctls: s.sysctls, Facts: s.recording(account)}, nil
}

// NotStarted returns the outcome of a trial whose server could not be started, if err says so, and
// otherwise nil. The trial is invalid and has no attempts.
func NotStarted(v *plan.Variant, err error) *Outcome {
	var failed *startError
	if !errors.As(err, &failed) {
		return nil
	}
	return &Outcome{Trial: &results.Trial{
		TimeoutNS: int64(v.Timeout), InvalidReasons: []string{oneLine(failed.Error())},
	}}
}

// A cleanup is a list of functions, each of which ends something that a trial has started. The
// functions are in the order of the starts.
type cleanup []func() error

// add adds a function to the list. run calls it before the functions that were added earlier. It
// must be safe to call the function even if the thing that it ends has already ended.
func (c *cleanup) add(end func() error) { *c = append(*c, end) }

// run calls the functions in reverse order, and empties the list.
func (c *cleanup) run() error {
	var errs []error
	for _, end := range slices.Backward(*c) {
		errs = append(errs, end())
	}
	*c = nil
	return errors.Join(errs...)
}

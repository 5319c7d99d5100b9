package trial

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"time"

	"github.com/cilium/ebpf/btf"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/results"
)

// Roles make the commands of the child roles, each running this program's binary.
type Roles struct {
	Init, Worker, Load, Relay, Agent func() *exec.Cmd
}

// lead is the time from the last preparation to the first attempt.
const lead = 20 * time.Millisecond

// Options are the options of Run.
type Options struct {
	Roles Roles
	Block int
	// KernelTypes are this kernel's types, for the eBPF programs. Reading them takes longer than
	// loading the programs, so a run shares them among its trials. If it is nil, each program reads
	// them.
	KernelTypes *btf.Cache
	// KeepFacts keeps all facts by which the trial is judged, in Outcome.Facts.
	KeepFacts bool
}

// An Outcome is the outcome of a trial.
type Outcome struct {
	*results.Trial
	Sysctls map[string]string // of its lab
	Facts   *ledger.Recording // nil without Options.KeepFacts; its header is incomplete
}

// Run carries out one trial of the variant in its own lab, and removes the lab before it returns.
// An error means that nothing was measured. A trial that was measured badly is returned as invalid.
func Run(ctx context.Context, p *plan.Plan, v *plan.Variant, o Options) (_ *Outcome, err error) {
	var c cleanup
	defer func() { err = errors.Join(err, c.run()) }()
	s, err := setUp(ctx, p, v, o, &c)
	var failed *startError
	if errors.As(err, &failed) && ctx.Err() == nil {
		return notStarted(v, failed), nil
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

// notStarted returns the outcome of a trial whose server could not be started. It has no attempts.
func notStarted(v *plan.Variant, err error) *Outcome {
	return &Outcome{Trial: &results.Trial{
		TimeoutNS: int64(v.Timeout), InvalidReasons: []string{oneLine(err.Error())},
	}}
}

// A cleanup is a list of functions that end what was started, in the order of the starts.
type cleanup []func() error

// add adds a function, which run will call before those added earlier. It must be safe to call even
// if what it ends has ended.
func (c *cleanup) add(end func() error) { *c = append(*c, end) }

// run calls the functions, last added first.
func (c *cleanup) run() error {
	var errs []error
	for _, end := range slices.Backward(*c) {
		errs = append(errs, end())
	}
	*c = nil
	return errors.Join(errs...)
}

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

// Roles make the commands of the four child roles, each running this program's binary.
type Roles struct {
	Init, Worker, Load, Relay func() *exec.Cmd
}

// lead is the time from the last preparation to the first attempt.
const lead = 20 * time.Millisecond

// Options of Run.
type Options struct {
	Roles Roles
	Block int
	// KernelTypes are this kernel's, for what is loaded into it. Reading them takes longer than the
	// loading, so a run keeps them from trial to trial. Nil: they are read where they are needed.
	KernelTypes *btf.Cache
	// KeepFacts keeps everything that the trial is judged by, in Outcome.Facts.
	KeepFacts bool
}

// An Outcome is a trial that was carried out.
type Outcome struct {
	*results.Trial
	Sysctls map[string]string // of its lab
	Facts   *ledger.Recording // nil unless they were to be kept; without a header
}

// Run carries out one trial of the variant in a lab of its own, which is gone when it returns. An
// error means that nothing was measured; a trial that was measured badly is returned as invalid.
func Run(ctx context.Context, p *plan.Plan, v *plan.Variant, o Options) (_ *Outcome, err error) {
	var c cleanup
	defer func() { err = errors.Join(err, c.run()) }()
	s, err := setUp(ctx, p, v, o, &c)
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

// A cleanup is what has to be ended, whatever happens, in the order in which it was begun.
type cleanup []func() error

// add adds something to be ended before all that was added so far. What was ended already by then
// must bear to be ended again.
func (c *cleanup) add(end func() error) { *c = append(*c, end) }

// run ends everything, last things first.
func (c *cleanup) run() error {
	var errs []error
	for _, end := range slices.Backward(*c) {
		errs = append(errs, end())
	}
	*c = nil
	return errors.Join(errs...)
}

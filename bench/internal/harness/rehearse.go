package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reuseport-bench/bench/internal/ledger"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/trial"
)

// A Rehearsal is what was found out when a server of the user's own was started, kept busy and
// restarted once, before any trial.
type Rehearsal struct {
	Start     time.Duration // until the server was ready
	PerSecond float64       // requests that it answered while it was kept busy
	// AtLeast means that the load was at its limit first, so the server may answer more.
	AtLeast bool
	Restart time.Duration // from the first action until the restart was over
}

// RestartFailed begins the error of Rehearse if the server could not be restarted.
const RestartFailed = "restart: "

// Rehearse starts the server of a variant in a lab of its own, keeps it busy for a moment, and
// restarts it.
func Rehearse(
	ctx context.Context, p *plan.Plan, v *plan.Variant, roles trial.Roles,
) (r Rehearsal, err error) {
	answered := &answers{}
	rig, err := newRig(ctx, p, v, roles, answered)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	r.Start = rig.StartTime()
	perSecond, loadBusy, err := driveFlatOut(ctx, rig, p, v, roles, answered)
	if err != nil {
		return r, errors.Join(rig.ServerErr(), err)
	}
	r.PerSecond, r.AtLeast = perSecond, loadBusy > ledger.LoadBound
	done, err := rig.Restart(ctx)
	if err != nil {
		return r, fmt.Errorf(RestartFailed+"%w", err)
	}
	r.Restart = done.Over.Sub(done.Trigger)
	return r, nil
}

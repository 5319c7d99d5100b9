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

// A Rehearsal holds measurements of a third-party server that was started, kept busy and restarted
// once, before any trial.
type Rehearsal struct {
	Start     time.Duration // from the start of the server until it was ready
	PerSecond float64       // requests per second that it answered while it was kept busy
	// AtLeast is true if the load reached its limit before the server did, so that the server could
	// have answered more requests than PerSecond.
	AtLeast bool
	Kept    int           // connections that it kept open at the same time, at most Tries.Keep
	Restart time.Duration // from the first action until the restart was over
}

// Tries are the options of Rehearse.
type Tries struct {
	Path string // the path of requests
	Keep int    // the number of connections that the server should keep open at the same time
}

// RestartFailed is the beginning of Rehearse's error if the server could not be restarted.
const RestartFailed = "restart: "

// Rehearse starts the server of a variant in a lab of its own, counts the connections that it keeps
// open, keeps it busy on new connections for a moment, and restarts it.
func Rehearse(
	ctx context.Context, p *plan.Plan, v *plan.Variant, roles trial.Roles, tries Tries,
) (r Rehearsal, err error) {
	answered := &answers{}
	v = v.OnNewConnections()
	rig, err := newRig(ctx, p, v, roles, answered)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, rig.Close()) }()
	r.Start = rig.StartTime()
	r.Kept = rig.Keeps(ctx, tries.Path, tries.Keep)
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

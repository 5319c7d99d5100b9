package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/trial"
	"reuseport-bench/scenarios/vocabulary"
)

// A booted is the real Kubernetes of a run, in a lab of its own. It is booted for the first trial
// that needs it. The other trials use it, too, unless they need another grace period for silent
// nodes.
type booted struct {
	roles trial.Roles
	cpus  plan.Placement
	note  func(string) // tells the user

	lab       *netlab.Lab
	cluster   *kubernetes.Cluster
	nodeGrace time.Duration // 0: Kubernetes' default
}

// get returns the Kubernetes, and boots it first if necessary: also if the present one has another
// grace period for silent nodes.
func (b *booted) get(
	ctx context.Context, nodeGrace time.Duration,
) (_ *kubernetes.Cluster, err error) {
	if b.cluster != nil && b.nodeGrace == nodeGrace {
		return b.cluster, nil
	}
	if err := b.close(); err != nil {
		return nil, err
	}
	parts, err := kubernetes.Find("")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("kubernetes: %w", err), b.close())
		}
	}()
	b.nodeGrace = nodeGrace
	began := time.Now()
	b.note("booting a Kubernetes of two nodes, which takes about 5 s")
	b.lab, err = netlab.New(ctx, netlab.Options{
		Init: b.roles.Init, Network: vocabulary.NetworkCluster, ReceiveCPUs: b.cpus.Servers,
		Control: true,
	})
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	// Kubernetes leaves the load's CPUs alone, unless it would have to start pods on a single CPU.
	cpus := b.cpus.Servers
	if len(cpus) < 2 {
		cpus = nil
	}
	b.cluster, err = kubernetes.Boot(ctx, kubernetes.Options{
		Lab: b.lab, Parts: parts, Supervise: b.roles.Supervise, Sweep: b.roles.Sweep,
		PauseRole: b.roles.Pause, Image: program, NodeGrace: nodeGrace,
		CPUs:     cpus,
		Progress: func(what string) { b.note("Kubernetes: " + what) },
	})
	if err != nil {
		return nil, err
	}
	b.note(fmt.Sprintf("%s, up after %.1f s", b.cluster.Name(), time.Since(began).Seconds()))
	return b.cluster, nil
}

// explain adds to the error of a trial why a process of the Kubernetes has ended, if one has.
func (b *booted) explain(err error) error {
	if err == nil || b.cluster == nil {
		return err
	}
	select {
	case failed := <-b.cluster.Failed():
		return errors.Join(failed, err)
	default:
		return err
	}
}

// close ends the Kubernetes and its lab.
func (b *booted) close() (err error) {
	if b.cluster != nil {
		began := time.Now()
		err = b.cluster.Close()
		b.note(fmt.Sprintf("Kubernetes ended within %.1f s", time.Since(began).Seconds()))
	}
	if b.lab != nil {
		err = errors.Join(err, b.lab.Close())
	}
	b.cluster, b.lab = nil, nil
	return err
}

package cluster

import (
	"context"
	"fmt"
	"time"

	"reuseport-bench/bench/internal/kubernetes"
)

const (
	configMaps = "v1/configmaps"
	// churned is the number of objects that a churn changes in turn: few, so that the store of the
	// API server does not grow.
	churned = 50
	// churnCalls is the maximum number of calls of a churn that are under way at the same time.
	churnCalls = 16
	// leastChurn is the least share of the changes that a churn must achieve.
	leastChurn = 0.9
)

func churnName(i int) string { return fmt.Sprintf("churn-%d", i%churned) }

// churn makes objects that no pod uses. From then on it keeps the API server busy: it changes them
// at a rate, until endChurn is called or the cluster is closed. churn itself waits for the API,
// until ctx ends.
func (c *Cluster) churn(ctx context.Context, perSecond int) error {
	for i := range churned {
		o := object{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(churnName(i))}
		if err := c.create(ctx, configMaps, o); err != nil {
			return err
		}
	}
	ctx, c.real.endChurn = context.WithCancel(c.ctx)
	free := make(chan struct{}, churnCalls)
	begin := c.clock.Now()
	c.real.churnBegan = begin
	c.real.churning.Go(func() {
		for i := 0; ; i++ {
			due := begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
			if c.clock.SleepUntil(ctx, due) != nil {
				return
			}
			free <- struct{}{}
			c.real.churning.Go(func() {
				defer func() { <-free }()
				c.noteChurn(ctx, c.do(ctx, kubernetes.Request{
					Verb: "patch", Resource: configMaps, Namespace: namespace, Name: churnName(i),
					Patch: "merge", Body: object{"data": object{"change": fmt.Sprint(i)}},
				}))
			})
		}
	})
	return nil
}

// noteChurn counts a call of the churn, or records why it failed.
func (c *Cluster) noteChurn(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.real.changes++
	} else if c.failed == nil {
		c.failed = fmt.Errorf("kube.churn: %w", err)
	}
}

// removeChurned ends the churn and deletes its objects.
func (c *Cluster) removeChurned(ctx context.Context) (err error) {
	if c.real.endChurn != nil {
		c.real.endChurn()
		c.real.churning.Wait()
		took := c.clock.Now().Sub(c.real.churnBegan).Seconds()
		if want := took * float64(c.plan.Churn); float64(c.real.changes) < leastChurn*want {
			err = fmt.Errorf("kube.churn: the API server made %d changes, not %.0f; use a lower "+
				"number", c.real.changes, want)
		}
	}
	for i := range churned {
		if e := ignoreGone(c.do(ctx, kubernetes.Request{
			Verb: "delete", Resource: configMaps, Namespace: namespace, Name: churnName(i),
		})); e != nil {
			err = e
		}
	}
	return err
}

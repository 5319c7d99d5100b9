package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// nodeStates is what the API last said about the nodes.
type nodeStates struct {
	mu      sync.Mutex
	of      map[string]nodeObject
	changed chan struct{} // closed and replaced at every change
}

// nodeObject is the part of a Node object that says whether it takes pods.
type nodeObject struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Taints []struct {
			Key string `json:"key"`
		} `json:"taints"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type      string    `json:"type"`
			Status    string    `json:"status"`
			Message   string    `json:"message"`
			Heartbeat time.Time `json:"lastHeartbeatTime"`
		} `json:"conditions"`
	} `json:"status"`
}

func newNodeStates() *nodeStates {
	return &nodeStates{of: map[string]nodeObject{}, changed: make(chan struct{})}
}

// event takes in an event of the watch of nodes.
func (s *nodeStates) event(e WatchEvent) {
	if e.Type != Added && e.Type != Modified {
		return
	}
	var n nodeObject
	if json.Unmarshal(e.Object, &n) != nil { // the API has made it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[n.Metadata.Name] = n
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until a node takes pods. A report by its kubelet from before since does not count.
func (s *nodeStates) await(ctx context.Context, node string, since time.Time) error {
	for {
		s.mu.Lock()
		problem, changed := s.of[node].problem(since), s.changed
		s.mu.Unlock()
		if problem == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s takes no pods: %w: %w", node, context.Cause(ctx), problem)
		}
	}
}

// problem returns why a node takes no pods, or nil. The heartbeat of a kubelet has whole seconds;
// since is the time at which the last kubelet was killed, and the next needs longer to start.
func (n nodeObject) problem(since time.Time) error {
	if n.Metadata.Name == "" {
		return errors.New("its kubelet has not registered it")
	}
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type != "Ready":
		case !c.Heartbeat.After(since.Truncate(time.Second)):
			return errors.New("its kubelet has not reported since it was started")
		case c.Status != "True":
			return fmt.Errorf("its condition Ready is %s: %s", c.Status, c.Message)
		case len(n.Spec.Taints) > 0:
			return fmt.Errorf("it has the taint %s", n.Spec.Taints[0].Key)
		default:
			return nil
		}
	}
	return errors.New("its kubelet has not reported its state")
}

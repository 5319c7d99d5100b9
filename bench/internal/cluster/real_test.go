package cluster

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/bench/internal/foreign"
	"reuseport-bench/bench/internal/kube"
	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// newTestReal returns a Cluster that knows an API only by the events that a test gives it.
func newTestReal(t *testing.T, p plan.Cluster) *Cluster {
	t.Helper()
	adopter, err := servers.NewAdopter(filepath.Join(t.TempDir(), "workers.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := adopter.Close(); err != nil {
			t.Error(err)
		}
	})
	return &Cluster{
		plan: &p, changed: make(chan struct{}), pods: map[int]*pod{}, cordoned: map[int]bool{},
		real: &real{
			kubernetes: &kubernetes.Cluster{}, adopter: adopter, replicas: 2,
			name: "web-1-trial", states: map[string]*podState{},
			slices: map[string][]kube.Endpoint{},
		},
	}
}

// What the API says about a pod becomes the events that the ledger knows, each once.
func TestEventsOfPods(t *testing.T) {
	c := newTestReal(t, plan.Cluster{})
	pod := func(kind, name, app, deleted, ready string) {
		c.podChanged(kubernetes.WatchEvent{Type: kind, Object: json.RawMessage(`{
			"metadata": {"name": "` + name + `", "labels": {"app": "` + app + `"}` + deleted + `},
			"status": {"phase": "Running", "conditions": [
				{"type": "PodScheduled", "status": "True"},
				{"type": "Ready", "status": "` + ready + `", "message": "not yet"}]}}`)})
	}
	const deleted = `, "deletionTimestamp": "2026-11-30T00:00:00Z"`
	pod(kubernetes.Added, "other", "db", "", "True")
	pod(kubernetes.Added, "web-1", "web-1-trial", "", "False")
	if got := c.explain(errTest); !strings.Contains(got.Error(), "web-1: Running: not yet") {
		t.Errorf("explain: %v", got)
	}
	pod(kubernetes.Modified, "web-1", "web-1-trial", "", "True")
	pod(kubernetes.Modified, "web-1", "web-1-trial", "", "True")
	pod(kubernetes.Modified, "web-1", "web-1-trial", deleted, "True")
	pod(kubernetes.Modified, "web-1", "web-1-trial", deleted, "False")
	pod(kubernetes.Deleted, "web-1", "web-1-trial", deleted, "False")
	c.podChanged(kubernetes.WatchEvent{Type: kubernetes.Synced})
	pod(kubernetes.Added, "web-2", "web-1-trial", "", "True")
	pod(kubernetes.Modified, "web-2", "web-1-trial", "", "False")
	want := []kube.Event{
		{Kind: kube.PodAdded, Pod: "web-1"}, {Kind: kube.PodReady, Pod: "web-1"},
		{Kind: kube.DeletionBegun, Pod: "web-1"}, {Kind: kube.PodGone, Pod: "web-1"},
		{Kind: kube.PodAdded, Pod: "web-2"}, {Kind: kube.PodReady, Pod: "web-2"},
		{Kind: kube.PodUnready, Pod: "web-2"},
	}
	sameAddress := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	if diff := cmp.Diff(want, c.events, sameAddress); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if left := c.podsLeft(); len(left) != 1 || left[0] != "web-2" {
		t.Errorf("left: %q, want web-2", left)
	}
}

var errTest = json.Unmarshal([]byte("x"), new(int))

// The endpoints of a Service are those of all its EndpointSlices. An absent condition counts as
// true.
func TestEventsOfSlices(t *testing.T) {
	c := newTestReal(t, plan.Cluster{})
	slice := func(kind, name, endpoints string) []kube.Endpoint {
		c.sliceChanged(kubernetes.WatchEvent{Type: kind, Object: json.RawMessage(`{
			"metadata": {"name": "` + name + `",
				"labels": {"kubernetes.io/service-name": "web-1-trial"}},
			"endpoints": [` + endpoints + `]}`)})
		return c.events[len(c.events)-1].Endpoints
	}
	const (
		one = `{"addresses": ["198.18.10.2"], "targetRef": {"name": "web-1"}, "nodeName": "node-a"}`
		two = `{"addresses": ["198.18.20.2"], "targetRef": {"name": "web-2"}, "nodeName": "node-b",
			"conditions": {"ready": false, "serving": true, "terminating": true}}`
	)
	first := kube.Endpoint{
		Pod: "web-1", Node: "node-a", Serving: true,
		Address: netip.AddrPortFrom(netip.MustParseAddr("198.18.10.2"), plan.ServerPort),
	}
	second := kube.Endpoint{
		Pod: "web-2", Node: "node-b", Serving: true, Terminating: true,
		Address: netip.AddrPortFrom(netip.MustParseAddr("198.18.20.2"), plan.ServerPort),
	}
	options := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
	for _, step := range []struct {
		got, want []kube.Endpoint
	}{
		{slice(kubernetes.Added, "a", one), []kube.Endpoint{first}},
		{slice(kubernetes.Modified, "a", one+","+two), []kube.Endpoint{first, second}},
		{slice(kubernetes.Modified, "a", two), []kube.Endpoint{second}},
		{slice(kubernetes.Deleted, "a", two), nil},
	} {
		if diff := cmp.Diff(step.want, step.got, options); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// The kubelet asks a third-party server as the scenario says, and its first process may make
// mounts.
func TestDeploymentOfCommand(t *testing.T) {
	c := newTestReal(t, plan.Cluster{
		Readiness: vocabulary.ReadinessProbe, ProbePeriod: time.Second,
	})
	for _, test := range []struct {
		command *plan.Command
		want    string
	}{
		{nil, `"httpGet":{"path":"/readyz","port":8080}`},
		{&plan.Command{}, `"tcpSocket":{"port":8080}`},
		{&plan.Command{Server: foreign.Config{Ready: foreign.Ready{HTTP: "/up"}}},
			`"httpGet":{"path":"/up","port":8080}`},
	} {
		c.Command = test.command
		text, err := json.Marshal(c.deploymentObject(2, 7))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), test.want) {
			t.Errorf("no %s in %s", test.want, text)
		}
		if privileged := strings.Contains(string(text), `"privileged":true`); privileged !=
			(test.command != nil) {
			t.Errorf("privileged: %v in %s", privileged, text)
		}
	}
}

// The Deployment has the scenario's settings, in the fields and units of Kubernetes.
func TestDeployment(t *testing.T) {
	c := newTestReal(t, plan.Cluster{
		Readiness: vocabulary.ReadinessProbe, ProbePeriod: 2 * time.Second,
		PreStop: 3 * time.Second, Grace: 40 * time.Second, MinReady: 5 * time.Second, MaxSurge: 1,
	})
	text, err := json.Marshal(c.deploymentObject(2, 7))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"replicas":2`, `"minReadySeconds":5`, `"maxSurge":1`, `"maxUnavailable":0`,
		`"preStop":{"sleep":{"seconds":3}}`, `"terminationGracePeriodSeconds":40`,
		`"periodSeconds":2`, `"imagePullPolicy":"Never"`,
		`{"name":"REUSEPORT_BENCH_GENERATION","value":"7"}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	c.plan.Readiness, c.plan.PreStop = vocabulary.ReadinessStarted, 0
	text, err = json.Marshal(c.deploymentObject(2, 7))
	if err != nil {
		t.Fatal(err)
	}
	for _, unwanted := range []string{"readinessProbe", "preStop"} {
		if strings.Contains(string(text), unwanted) {
			t.Errorf("%s in %s", unwanted, text)
		}
	}
}

package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"reuseport-bench/scenarios/strictyaml"
	"reuseport-bench/scenarios/vocabulary"
)

// leastNodeLag is the shortest node-monitor-grace-period in which a kubelet that renews its lease
// every second misses none.
const leastNodeLag = 5 * time.Second

// real reports whether the pods belong to a real Kubernetes.
func (k *Kube) real() bool { return k.Control == vocabulary.ControlReal }

// realControl checks the settings of pods of a real Kubernetes.
func (c *setupCheck) realControl() {
	if !c.d.Trusts("path", "kube") || !c.InPods() || !c.Kube.real() {
		return
	}
	k := c.Kube
	if k.NodeLag > 0 && k.NodeLag < leastNodeLag {
		c.add("kube.node_lag", ": "+strictyaml.FormatDuration(k.NodeLag)+" is too short for a "+
			"kubelet to report in time", "with kube.control: real, use "+
			strictyaml.FormatDuration(leastNodeLag)+" or more; without it, Kubernetes' 50s")
	}
	onNode := k.Placement.Row().OnHost
	if c.Path != vocabulary.PathService && !(c.Path == vocabulary.PathPod && onNode) {
		c.add("kube.control", ": real needs path: service, or pods on the host network",
			"Kubernetes chooses the address of any other pod; use path: service, or embedded")
	}
	c.decidedByKubernetes()
	c.wholeSeconds()
	for _, of := range []struct {
		path string
		set  bool
		what string
		hint string
	}{
		{"kube.readiness", k.Readiness == vocabulary.ReadinessListening,
			": listening needs kube.control: embedded",
			"a kubelet learns only from probes that a process listens; use probe"},
		{"kube.users", k.otherUsers(), ": " + string(k.Users) + " needs kube.control: embedded",
			"use one"},
		{"sysctl", c.Sysctl != Sysctl{} && !c.inOnePod(), ": does not go with kube.control: real",
			"the network of a pod is made by its node; remove it"},
		{"stop", c.Stop == vocabulary.StopKill && !c.inOnePod(),
			": kill does not go with kube.control: real",
			"a kubelet sends SIGTERM; write close, or node-down in the timeline for a death " +
				"without SIGTERM"},
	} {
		if of.set && c.d.Trusts(of.path) {
			c.add(of.path, of.what, of.hint)
		}
	}
	if !c.d.Trusts("timeline") {
		return
	}
	for i, s := range c.Timeline {
		if kind := s.Do.Kind(); kind.Plain && kind.Pods {
			c.add(fmt.Sprintf("timeline[%d].do", i),
				": "+string(s.Do)+" needs kube.control: embedded",
				"use "+strings.Join(stepNames(onlyPods), ", "))
		}
	}
}

// onlyPods reports whether steps of kind k are changes to objects of Kubernetes.
func onlyPods(k vocabulary.StepKind) bool { return k.Pods && !k.Plain }

// decidedByKubernetes checks that the scenario does not set what a real Kubernetes decides.
func (c *setupCheck) decidedByKubernetes() {
	k := c.Kube
	for _, of := range []struct {
		path string
		set  bool
	}{
		{"kube.endpoint_lag", k.EndpointLag != Lag{}},
		{"kube.rules_lag", k.RulesLag != Lag{}},
		{"kube.kubelet_lag", k.KubeletLag != Lag{}},
		{"kube.ready_lag", k.ReadyLag != Lag{}},
		{"kube.controller_lag", k.ControllerLag != Lag{}},
		{"kube.relist_period", k.RelistPeriod > 0},
		{"kube.relist_offset", k.RelistOffset > 0},
		{"kube.container_start", k.ContainerStart > 0},
		{"kube.teardown", k.Teardown > 0},
	} {
		if of.set {
			c.add(of.path, ": with kube.control: real Kubernetes decides this",
				"remove it, or set it in the matrix beside kube.control: embedded")
		}
	}
}

// A secondsField is a field of a Kubernetes object that has whole seconds.
type secondsField struct {
	path, field string
	value       time.Duration
}

// secondsFields returns the fields with whole seconds, with the settings that determine them.
func (k *Kube) secondsFields() []secondsField {
	return []secondsField{
		{"kube.pre_stop", "sleep.seconds", k.PreStop},
		{"kube.grace", "terminationGracePeriodSeconds", k.Grace},
		{"kube.probe_period", "periodSeconds", k.ProbePeriod},
		{"kube.min_ready", "minReadySeconds", k.MinReady},
		{"kube.node_lag", "node-monitor-grace-period", k.NodeLag},
	}
}

// inSeconds reports whether a setting determines a field with whole seconds.
func (k *Kube) inSeconds(setting string) bool {
	is := func(f secondsField) bool { return f.path == setting }
	return slices.ContainsFunc(k.secondsFields(), is)
}

// wholeSeconds checks the durations that are fields with whole seconds.
func (c *setupCheck) wholeSeconds() {
	for _, of := range c.Kube.secondsFields() {
		if of.value%oneSecond != 0 {
			up := of.value.Truncate(oneSecond) + oneSecond
			c.add(of.path, ": "+strictyaml.FormatDuration(of.value)+" is not in whole seconds",
				fmt.Sprintf("with kube.control: real it is %s; for example %s", of.field,
					strictyaml.FormatDuration(up)))
		}
	}
}

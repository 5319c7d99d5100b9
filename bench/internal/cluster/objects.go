package cluster

import (
	"strings"
	"time"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers"
)

// The resources of Kubernetes that the pods of a trial need, as the API's paths name them.
const (
	deployments    = "apps/v1/deployments"
	budgets        = "policy/v1/poddisruptionbudgets"
	services       = "v1/services"
	pods           = "v1/pods"
	nodes          = "v1/nodes"
	endpointSlices = "discovery.k8s.io/v1/endpointslices"

	namespace = "default"
)

// An object is an object of the Kubernetes API, or a part of one, as JSON.
type object = map[string]any

func metadata(name string) object { return object{"name": name, "namespace": namespace} }

// selected are the labels of the pods of a trial.
func (c *Cluster) selected() object { return object{"app": c.real.name} }

func (c *Cluster) serviceObject() object {
	return object{
		"apiVersion": "v1", "kind": "Service", "metadata": metadata(c.real.name),
		"spec": object{
			"clusterIP": c.plan.Service.Addr().String(), "selector": c.selected(),
			"ports": []object{{
				"port": c.plan.Service.Port(), "targetPort": plan.ServerPort, "protocol": "TCP",
			}},
		},
	}
}

// budgetObject returns a PodDisruptionBudget, which an eviction respects.
func (c *Cluster) budgetObject() object {
	return object{
		"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
		"metadata": metadata(c.real.name),
		"spec": object{
			"minAvailable": c.plan.MinAvailable, "selector": object{"matchLabels": c.selected()},
		},
	}
}

// deploymentObject returns the Deployment of the workers. Its strategy always says both numbers,
// because the defaults are percentages.
func (c *Cluster) deploymentObject(replicas, generation int) object {
	return object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(c.real.name),
		"spec": object{
			"replicas": replicas,
			"selector": object{"matchLabels": c.selected()},
			"strategy": object{"type": "RollingUpdate", "rollingUpdate": object{
				"maxSurge": c.plan.MaxSurge, "maxUnavailable": c.plan.MaxUnavailable,
			}},
			"minReadySeconds": seconds(c.plan.MinReady),
			"template":        c.templateObject(generation),
		},
	}
}

// The environment of a container tells a worker who it is. status.podIP is known when the container
// starts, because the pod's sandbox has its network by then.
func (c *Cluster) environment(generation int) []object {
	from := func(name, field string) object {
		return object{"name": name, "valueFrom": object{"fieldRef": object{"fieldPath": field}}}
	}
	env := []object{
		from(servers.EnvPod, "metadata.name"), from(envPodIP, "status.podIP"),
		from(envNode, "spec.nodeName"),
	}
	for _, pair := range c.real.adopter.Environment(generation) {
		name, value, _ := strings.Cut(pair, "=")
		env = append(env, object{"name": name, "value": value})
	}
	return env
}

const (
	envPodIP = "REUSEPORT_BENCH_POD_IP"
	envNode  = "REUSEPORT_BENCH_NODE"
)

func (c *Cluster) templateObject(generation int) object {
	container := object{
		"name": "worker", "image": c.real.kubernetes.Image(), "imagePullPolicy": "Never",
		"args": c.real.args,
		"env":  c.environment(generation),
		"volumeMounts": []object{{
			"name": "shared", "mountPath": c.real.kubernetes.Shared(),
		}},
	}
	if c.plan.Readiness == vocabulary.ReadinessProbe {
		container["readinessProbe"] = c.readinessProbe()
	}
	if c.Command != nil {
		// Its first process makes a home for the server, which takes mounts, and limits the server.
		container["securityContext"] = object{"privileged": true}
	}
	if c.plan.PreStop > 0 {
		container["lifecycle"] = object{
			"preStop": object{"sleep": object{"seconds": seconds(c.plan.PreStop)}},
		}
	}
	spec := object{
		"automountServiceAccountToken":  false,
		"enableServiceLinks":            false,
		"dnsPolicy":                     "Default",
		"terminationGracePeriodSeconds": seconds(c.plan.Grace),
		"containers":                    []object{container},
		"volumes": []object{{
			"name":     "shared",
			"hostPath": object{"path": c.real.kubernetes.Shared(), "type": "Directory"},
		}},
	}
	switch c.plan.Placement {
	case vocabulary.PlacementOneNode:
		spec["nodeSelector"] = object{"kubernetes.io/hostname": c.lab.Node(0).Name}
	case vocabulary.PlacementHostNetwork, vocabulary.PlacementHostContainers:
		spec["nodeSelector"] = object{"kubernetes.io/hostname": c.lab.Node(0).Name}
		spec["hostNetwork"] = true
	default:
		spec["topologySpreadConstraints"] = []object{{
			"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
			"whenUnsatisfiable": "ScheduleAnyway",
			"labelSelector":     object{"matchLabels": c.selected()},
			"matchLabelKeys":    []string{"pod-template-hash"},
		}}
	}
	if c.real.replicas == 1 {
		spec["affinity"] = c.onNodeA()
	}
	return object{"metadata": object{"labels": c.selected()}, "spec": spec}
}

// readinessProbe returns how a kubelet finds out whether a pod is ready. Package scenarios refuses
// conditions of third-party servers that a kubelet cannot check.
func (c *Cluster) readinessProbe() object {
	probe := object{"periodSeconds": seconds(c.plan.ProbePeriod)}
	path := "/readyz"
	if c.Command != nil {
		path = c.Command.Server.Ready.HTTP
	}
	if path == "" {
		probe["tcpSocket"] = object{"port": plan.ServerPort}
	} else {
		probe["httpGet"] = object{"path": path, "port": plan.ServerPort}
	}
	return probe
}

// onNodeA returns an affinity by which a single pod starts on node A while that node takes pods.
func (c *Cluster) onNodeA() object {
	return object{"nodeAffinity": object{
		"preferredDuringSchedulingIgnoredDuringExecution": []object{{
			"weight": 100,
			"preference": object{"matchExpressions": []object{{
				"key": "kubernetes.io/hostname", "operator": "In",
				"values": []string{c.lab.Node(0).Name},
			}}},
		}},
	}}
}

// seconds returns d in whole seconds. With a real Kubernetes, plan refuses fractions.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// A podObject is what a Cluster reads of a pod.
type podObject struct {
	Metadata struct {
		Name              string
		Labels            map[string]string
		DeletionTimestamp string
	}
	Spec   struct{ NodeName string }
	Status struct {
		Phase      string
		PodIP      string
		Conditions []condition
	}
}

type condition struct{ Type, Status, Reason, Message string }

func (p *podObject) ready() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// A sliceObject is what a Cluster reads of an EndpointSlice.
type sliceObject struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Endpoints []struct {
		Addresses  []string
		Conditions struct{ Ready, Serving, Terminating *bool }
		NodeName   string
		TargetRef  struct{ Name string }
	}
}

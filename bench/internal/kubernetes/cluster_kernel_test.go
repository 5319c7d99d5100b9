//go:build kube

// The tests of this file need the parts of Kubernetes: 'make kube-deps kube'. 'make test-kube' runs
// them.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// Roles of the test program.
const (
	roleInit      = "lab-init"
	roleSupervise = "supervise"
	roleSweep     = "sweep"
	rolePause     = "pause"
	roleBoot      = "boot" // boots a cluster, prints a line, and waits
)

func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		goleak.VerifyTestMain(m)
	}
	roles := map[string]func() error{
		roleInit: netlab.Init, roleSupervise: Supervise, roleSweep: SweepMain, rolePause: PauseMain,
		"serve": serve, roleBoot: bootAndWait,
	}
	role := roles[os.Args[1]]
	if role == nil {
		goleak.VerifyTestMain(m)
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve is the server in a pod. Its answer is the pod's name.
func serve() error {
	return http.ListenAndServe(":8080", http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, os.Getenv("HOSTNAME")) }))
}

func self(role string) func() *exec.Cmd {
	return func() *exec.Cmd { return exec.Command("/proc/self/exe", role) }
}

func newLab(ctx context.Context) (*netlab.Lab, error) {
	return netlab.New(ctx, netlab.Options{
		Network: vocabulary.NetworkCluster, Control: true, Init: self(roleInit),
	})
}

func options(lab *netlab.Lab, progress func(string)) (Options, error) {
	parts, err := Find("")
	if err != nil {
		return Options{}, err
	}
	program, err := os.Executable()
	return Options{
		Lab: lab, Parts: parts, Supervise: self(roleSupervise), Sweep: self(roleSweep),
		PauseRole: rolePause, Image: program, NodeGrace: 8 * time.Second, Progress: progress,
	}, err
}

// bootAndWait boots a cluster, and is killed then.
func bootAndWait() error {
	lab, err := newLab(context.Background())
	if err != nil {
		return err
	}
	o, err := options(lab, func(line string) { fmt.Println(line) })
	if err != nil {
		return err
	}
	if _, err := Boot(context.Background(), o); err != nil {
		return err
	}
	fmt.Println("booted")
	select {}
}

// bootIn boots a cluster for a test. change may change the options.
func bootIn(ctx context.Context, t *testing.T, change func(*Options)) (*Cluster, error) {
	t.Helper()
	testkit.RequireRoot(t)
	before := inventory(t, os.Getpid())
	lab, err := newLab(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
		compare(t, before, inventory(t, os.Getpid()))
	})
	o, err := options(lab, func(line string) { t.Log(line) })
	if err != nil {
		testkit.Skip(t, "%v", err)
	}
	if change != nil {
		change(&o)
	}
	return Boot(ctx, o)
}

// inventory lists what a cluster of the process pid could leave behind, by kind. Clusters of other
// programs may run at the same time, with parts from another directory.
func inventory(t *testing.T, pid int) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	name := fmt.Sprintf("reuseport-bench-kube-%d-", pid)
	for _, pattern := range []string{
		os.TempDir() + "/" + name + "*", "/run/containerd", "/run/netns/*", stateDirectory,
		"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni", "/var/lib/etcd",
		"/var/log/pods", "/var/log/containers",
		"/etc/cni", "/etc/kubernetes", "/usr/libexec/kubernetes", "/opt/containerd",
	} {
		files, _ := filepath.Glob(pattern)
		found["file"] = append(found["file"], files...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	found["mount"] = strings.Split(string(mounts), "\n")
	_ = filepath.WalkDir(CgroupMount, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.Contains(path, name) {
			found["cgroup"] = append(found["cgroup"], path)
		}
		return nil // other cgroups may vanish
	})
	for name := range nodeSysctls {
		value, _ := os.ReadFile("/proc/sys/" + name)
		found["sysctl"] = append(found["sysctl"], name+"="+string(value))
	}
	parts, err := Find("")
	if err != nil {
		testkit.Skip(t, "%v", err)
	}
	ours, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		text, _ := os.ReadFile(path)
		line := strings.ReplaceAll(string(text), "\x00", " ")
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if strings.Contains(line, filepath.Dir(parts.kubernetes)) ||
			strings.Contains(line, parts.deps) ||
			strings.HasPrefix(line, programInImage+" serve") ||
			exe == ours && filepath.Base(filepath.Dir(path)) != fmt.Sprint(os.Getpid()) {
			found["process"] = append(found["process"], path+": "+line)
		}
	}
	return found
}

func compare(t *testing.T, before, after map[string][]string) {
	t.Helper()
	for kind, list := range after {
		for _, item := range list {
			if !slices.Contains(before[kind], item) {
				t.Errorf("left behind: %s %s", kind, item)
			}
		}
	}
	for kind, list := range before {
		for _, item := range list {
			if !slices.Contains(after[kind], item) && (kind == "mount" || kind == "sysctl") {
				t.Errorf("missing afterwards: %s %s", kind, item)
			}
		}
	}
}

const serviceAddress = "198.19.0.80:80"

// deploy makes a Deployment of servers and a Service for them, and waits until the Service answers
// from each of them.
func deploy(t *testing.T, c *Cluster, replicas int) {
	t.Helper()
	labels := object{"app": "web"}
	for _, r := range []Request{
		{Verb: "create", Resource: "v1/services", Namespace: "default", Body: object{
			"apiVersion": "v1", "kind": "Service", "metadata": object{"name": "web"},
			"spec": object{
				"clusterIP": "198.19.0.80", "selector": labels,
				"ports": []object{{"port": 80, "targetPort": 8080}},
			},
		}},
		{Verb: "create", Resource: "apps/v1/deployments", Namespace: "default", Body: object{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": "web"},
			"spec": object{
				"replicas": replicas, "selector": object{"matchLabels": labels},
				"template": object{
					"metadata": object{"labels": labels},
					"spec": object{
						"automountServiceAccountToken": false, "enableServiceLinks": false,
						"dnsPolicy": "Default", "terminationGracePeriodSeconds": 1,
						"topologySpreadConstraints": []object{{
							"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
							"whenUnsatisfiable": "DoNotSchedule",
							"labelSelector":     object{"matchLabels": labels},
						}},
						"containers": []object{{
							"name": "web", "image": c.Image(), "imagePullPolicy": "Never",
							"args": []string{"serve"},
							"readinessProbe": object{
								"httpGet": object{"path": "/", "port": 8080}, "periodSeconds": 1,
							},
							"volumeMounts": []object{{"name": "shared", "mountPath": c.Shared()}},
						}},
						"volumes": []object{
							{"name": "shared", "hostPath": object{"path": c.Shared()}},
						},
					},
				},
			},
		}},
	} {
		if _, err := c.Do(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	awaitAnswers(t, c, replicas)
	t.Logf("%d pods answered %v after the calls", replicas, time.Since(began))
}

// awaitAnswers asks the Service, from the clients' host, until it has answered from as many pods.
func awaitAnswers(t *testing.T, c *Cluster, pods int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	err := poll(ctx, func() error {
		answer, err := ask(c)
		if err != nil {
			return err
		}
		if seen[answer] = true; len(seen) < pods {
			return fmt.Errorf("answers from %v only", seen)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, describePods(c))
	}
}

func describePods(c *Cluster) string {
	list, err := c.Do(context.Background(), Request{Verb: "list", Resource: "v1/pods"})
	return fmt.Sprintf("%s %v", list, err)
}

func ask(c *Cluster) (string, error) {
	var conn net.Conn
	lab := c.options.Lab
	err := lab.Do(lab.Clients(), func() (err error) {
		conn, err = net.DialTimeout("tcp", serviceAddress, 200*time.Millisecond)
		return err
	})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(conn)
	_, body, found := strings.Cut(string(answer), "\r\n\r\n")
	if !found && err == nil {
		err = io.ErrUnexpectedEOF
	}
	return body, err
}

func TestKernelCluster(t *testing.T) {
	c, err := bootIn(t.Context(), t, func(o *Options) {
		if cpus, err := kernel.UsableCPUs(); err == nil && len(cpus) > 1 {
			o.CPUs = cpus[1:2]
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("booted in %v: %v", c.BootTime(), c.Versions())
	defer func() {
		began := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("closed in %v", time.Since(began))
		select {
		case err := <-c.Failed():
			t.Errorf("a part failed: %v", err)
		default:
		}
	}()
	deploy(t, c, 4)
	checkPodCPUs(t, c.options.CPUs)
	_, err = c.Do(t.Context(), Request{
		Verb: "get", Resource: "v1/pods", Namespace: "default", Name: "none",
	})
	var answer *APIError
	if !errors.As(err, &answer) || answer.Reason != "NotFound" {
		t.Errorf("a missing pod: %v, want NotFound", err)
	}
	for _, p := range []Proxy{
		{MinSyncPeriod: 10 * time.Millisecond}, {MinSyncPeriod: 10 * time.Millisecond},
		{Mode: vocabulary.ProxyIptables}, {},
	} {
		began := time.Now()
		if err := c.SetProxy(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		t.Logf("SetProxy(%+v) took %v", p, time.Since(began))
		awaitAnswers(t, c, 4)
		checkRules(t, c, p.Mode == vocabulary.ProxyIptables)
	}
	began := time.Now()
	if err := c.NodeDown(1); err != nil {
		t.Fatal(err)
	}
	t.Logf("NodeDown took %v", time.Since(began))
	awaitPods(t, c, "node-b", "False")
	t.Logf("the pods of node-b were unready after %v", time.Since(began))
	began = time.Now()
	if err := c.NodeUp(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	t.Logf("NodeUp took %v", time.Since(began))
	awaitPods(t, c, "node-b", "True")
	awaitAnswers(t, c, 4)
	t.Logf("all pods answered %v after NodeUp", time.Since(began))
}

// checkRules checks that the hosts have rules of one mode of kube-proxy, and none of the other.
func checkRules(t *testing.T, c *Cluster, iptables bool) {
	t.Helper()
	for _, h := range []*host{c.clients, c.nodes[0].host, c.nodes[1].host} {
		var rules string
		err := c.options.Lab.Do(h.at, func() (err error) {
			rules, err = c.parts.run(t.Context(), c.parts.program("nft"), "list", "ruleset", "ip")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for chain, want := range map[string]bool{
			"KUBE-SVC-": iptables, "KUBE-SEP-": iptables, "jump KUBE-SERVICES": iptables,
			"table ip kube-proxy": !iptables,
		} {
			if got := strings.Contains(rules, chain); got != want {
				t.Errorf("%s has rules with %q: %t, want %t", h.at.Name, chain, got, want)
			}
		}
	}
}

// checkPodCPUs checks on which CPUs the pods' servers may run.
func checkPodCPUs(t *testing.T, want []int) {
	t.Helper()
	if want == nil {
		return
	}
	servers := 0
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range processes {
		text, _ := os.ReadFile(path)
		if string(text) != programInImage+"\x00serve\x00" {
			continue
		}
		servers++
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		allowed := fmt.Sprintf("Cpus_allowed_list:\t%d\n", want[0])
		if !strings.Contains(string(status), allowed) {
			t.Errorf("the status of a pod's server lacks %q", allowed)
		}
	}
	if servers != 4 {
		t.Errorf("%d servers in pods, want 4", servers)
	}
}

// awaitPods waits until the condition Ready of all pods of a node has the status.
func awaitPods(t *testing.T, c *Cluster, node, ready string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	err := poll(ctx, func() error {
		text, err := c.Do(ctx, Request{Verb: "list", Resource: "v1/pods", Namespace: "default"})
		if err != nil {
			return err
		}
		var pods struct {
			Items []struct {
				Spec   struct{ NodeName string }
				Status struct {
					Conditions []struct{ Type, Status string }
				}
			}
		}
		if err := json.Unmarshal(text, &pods); err != nil {
			return err
		}
		for _, p := range pods.Items {
			for _, condition := range p.Status.Conditions {
				if p.Spec.NodeName == node && condition.Type == "Ready" &&
					condition.Status != ready {
					return fmt.Errorf("a pod of %s is ready: %s", node, condition.Status)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKernelPartDies checks that the death of each part is reported with its log.
func TestKernelPartDies(t *testing.T) {
	c, err := bootIn(t.Context(), t, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, killed := range []struct {
		host *host
		part string
	}{
		{c.nodes[0].host, "kubelet"}, {c.clients, "kube-proxy"}, {c.control, "kube-apiserver"},
	} {
		host, part := killed.host, killed.part
		if err := host.send(superviseRequest{Kill: part}); err != nil {
			t.Fatal(err)
		}
		err := <-c.Failed()
		for _, want := range []string{part, host.at.Name, "SIGKILL", "log ends with"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error lacks %q: %v", part, want, err)
			}
		}
		t.Log(err)
	}
	began := time.Now()
	_, err = c.Do(t.Context(), Request{Verb: "list", Resource: "v1/pods"})
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("without an API server: %v after %v", err, time.Since(began))
	}
	for len(c.Failed()) > 0 {
		<-c.Failed() // parts that do not live without an API server
	}
	if err := c.nodes[1].process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		err := <-c.Failed()
		t.Log(err)
		if strings.Contains(err.Error(), "host node-b: its first process: signal: kill") {
			break
		}
	}
}

func TestKernelBootFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*testing.T, *Options)
		want   string
	}{
		{"no program", func(_ *testing.T, o *Options) { o.Image = "/nowhere/program" },
			"image of this program: open /nowhere/program"},
		{"broken etcd", func(t *testing.T, o *Options) { o.Parts = broken(t, o.Parts, "etcd", "exit 9") },
			"etcd on control: exit status 9"},
		{"broken kubelet", func(t *testing.T, o *Options) {
			o.Parts = broken(t, o.Parts, "kubelet", "exit 9")
		}, "exit status 9; its log ends with:\nbroken on purpose"},
		{"a node that is never ready", func(t *testing.T, o *Options) {
			o.Parts = broken(t, o.Parts, "kubelet", "exec sleep 1000")
		}, "takes no pods: context deadline exceeded: its kubelet has not registered it; its log " +
			"ends with:\nbroken on purpose"},
		{"an API server that is never ready", func(t *testing.T, o *Options) {
			o.Parts = broken(t, o.Parts, "kube-apiserver", "exec sleep 1000")
		}, "kube-apiserver on control: context deadline exceeded: Get \"https://198.18.0.4"},
		{"full disk", func(t *testing.T, o *Options) { fullDisk(t) }, "no space left on device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
			defer cancel()
			cluster, err := bootIn(ctx, t, func(o *Options) { c.change(t, o) })
			if err == nil {
				t.Error(cluster.Close())
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			t.Logf("failed after %v: %v", time.Since(began), err)
		})
	}
}

// broken returns parts of which one role of Kubernetes is a shell's command instead.
func broken(t *testing.T, p Parts, role, instead string) Parts {
	t.Helper()
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = %s ]; then echo broken on purpose; %s; fi\n"+
		"exec %s \"$@\"\n", role, instead, p.kubernetes)
	// The path must be visible on the hosts, below a directory that is.
	path := filepath.Join(t.TempDir(), "kubernetes")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p.kubernetes = path
	return p
}

// fullDisk makes the directory for temporary files one that is full.
func fullDisk(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "nr_inodes=1"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
}

package kubernetes

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"reuseport-bench/bench/internal/netlab"
	"reuseport-bench/servers/child"
)

// Options configure a cluster. Lab, Parts, Supervise, Sweep and Image are required.
type Options struct {
	// Lab is a lab with NetworkCluster and Control. It must outlive the cluster.
	Lab   *netlab.Lab
	Parts Parts // see Find
	// Supervise and Sweep make the commands that run Supervise and SweepMain. PauseRole is the
	// argument with which this program runs PauseMain.
	Supervise, Sweep func() *exec.Cmd
	PauseRole        string
	// Image is the path of this program, from which the image of the pods is made. The program must
	// be static.
	Image string
	// CPUs are the CPUs on which the cluster runs. If empty, all. Pods inherit them, except from a
	// runc that gives containers all CPUs of their cgroups (opencontainers/runc pull 4858).
	CPUs []int
	// NodeGrace is the time for which a node that is silent counts as ready. 0 means the default of
	// Kubernetes, 50 s.
	NodeGrace time.Duration
	Proxy     Proxy
	// Progress, if not nil, is called with a line of text for each part of the boot that is done.
	Progress func(string)
}

// A Cluster is a Kubernetes cluster in a lab. The caller closes it before the lab. Its methods may
// be called from several goroutines.
type Cluster struct {
	options     Options
	parts       Parts
	environment []string
	credentials *credentials
	cgroups     *cgroups
	cgroup      string // path of the cluster's cgroup in every hierarchy
	directory   string
	image       *os.File
	sweeper     *child.Process
	control     *host
	clients     *host
	nodes       [2]*node
	bridge      *bridge
	nodeStates  *nodeStates
	versions    map[string]string
	took        time.Duration

	changing sync.Mutex // held by SetProxy, NodeDown and NodeUp
	proxy    Proxy
	failed   chan error
	fail     func(error)

	trial   int // number of calls of NextTrial
	closing sync.Once
	err     error // of Close
}

// bootLimit is the maximum time that the boot of the cluster, or of a node, may take.
const bootLimit = 90 * time.Second

var errLate = fmt.Errorf("not ready after %v", bootLimit)

// Boot starts a cluster, and returns when both nodes take pods and every kube-proxy has written its
// rules. After an error nothing is left. The error of a part that fails has the last lines of its
// log.
func Boot(ctx context.Context, o Options) (*Cluster, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, errLate)
	defer cancel()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	c := &Cluster{
		options: o, parts: o.Parts, environment: o.Parts.environment(),
		proxy: o.Proxy.withDefaults(), nodeStates: newNodeStates(), failed: make(chan error, 1),
	}
	c.fail = func(err error) {
		abort(err)
		select {
		case c.failed <- err:
		default: // an earlier failure is the cause
		}
	}
	err := c.boot(ctx, began)
	if err != nil {
		// The failure of a part is the cause of what failed later.
		select {
		case err = <-c.failed:
		default:
		}
		return nil, errors.Join(fmt.Errorf("boot of Kubernetes: %w", err), c.Close())
	}
	c.took = time.Since(began)
	return c, nil
}

func (c *Cluster) boot(ctx context.Context, began time.Time) error {
	done := func(what string) {
		if c.options.Progress != nil {
			c.options.Progress(fmt.Sprintf("%s after %.1f s", what, time.Since(began).Seconds()))
		}
	}
	if err := c.makeGround(ctx); err != nil {
		return err
	}
	err := together(
		func() error { return c.startControl(ctx) },
		func() error { return c.startNode(ctx, c.nodes[0]) },
		func() error { return c.startNode(ctx, c.nodes[1]) })
	if err != nil {
		return err
	}
	done("API server and containerd ready")
	if err := c.useAPI(ctx); err != nil {
		return err
	}
	done("controllers started")
	err = together(
		func() error { return c.joinNode(ctx, c.nodes[0], time.Time{}) },
		func() error { return c.joinNode(ctx, c.nodes[1], time.Time{}) },
		func() error { return c.startProxy(ctx, c.clients) },
		func() (err error) { c.versions, err = c.parts.Versions(ctx); return err })
	if err != nil {
		return err
	}
	done("nodes ready")
	return nil
}

// makeGround makes everything that the parts run on: directory, cgroups, image, and supervisors of
// the hosts that are no nodes.
func (c *Cluster) makeGround(ctx context.Context) (err error) {
	if c.cgroups, err = findCgroups(); err != nil {
		return err
	}
	name := fmt.Sprintf("reuseport-bench-kube-%d-%s", os.Getpid(), strings.ToLower(rand.Text()))
	if c.directory, err = filepath.Abs(filepath.Join(os.TempDir(), name)); err != nil {
		return err
	}
	c.cgroup = "/" + name
	c.sweeper, err = startSweeper(ctx, c.options.Sweep, c.options.Lab.InitPID(), sweepConfig{
		Directory: c.directory, Cgroup: c.cgroup, Lent: c.cgroups.lent,
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{c.directory, c.Shared()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		// Pods may run as any user, and the umask of this program may be strict.
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	if c.credentials, err = newCredentials(); err != nil {
		return err
	}
	if c.image, err = writeImage(c.options.Image, c.options.PauseRole); err != nil {
		return err
	}
	a := netlab.AddressesOfCluster()
	for i := range c.nodes {
		in := c.options.Lab.Node(i)
		c.nodes[i] = &node{
			in: in, addr: a.Nodes[i], pods: a.Pods[i], cgroup: c.cgroup + "/" + in.Name,
		}
		if err := c.cgroups.make(c.nodes[i].cgroup); err != nil {
			return err
		}
	}
	if c.control, err = c.startHost(ctx, c.options.Lab.Control(), nil); err != nil {
		return err
	}
	c.clients, err = c.startHost(ctx, c.options.Lab.Clients(), nil)
	return err
}

// startHost starts the supervisor of a host.
func (c *Cluster) startHost(
	ctx context.Context, at *netlab.Host, sysctls map[string]string,
) (*host, error) {
	return startHost(ctx, hostOptions{
		lab: c.options.Lab, at: at, supervise: c.options.Supervise,
		cpus: c.options.CPUs, failed: c.fail,
		files: []*os.File{c.image},
		config: superviseConfig{
			Visible: []string{c.parts.kubernetes, c.parts.deps, c.directory}, Sysctls: sysctls,
		},
	})
}

// useAPI starts what needs the API: the controllers and the bridge. Over the bridge it makes the
// Node object of the clients' host, whose kube-proxy needs one. No pods are placed there, and its
// silence does not count when the node controller judges whether the whole cluster is in trouble.
func (c *Cluster) useAPI(ctx context.Context) (err error) {
	if err := c.startControllers(); err != nil {
		return err
	}
	c.bridge, err = startBridge(c.options.Lab, c.parts.kubernetes, c.environment,
		c.credentials.kubeconfig(), c.options.CPUs, c.fail)
	if err != nil {
		return err
	}
	watch := Request{Verb: "watch", Resource: "v1/nodes"} // for as long as the cluster lives
	id, reply := c.bridge.newCall(c.nodeStates.event)
	if _, err := c.bridge.call(ctx, id, reply, watch); err != nil {
		return fmt.Errorf("%v: %w", watch, err)
	}
	name := c.options.Lab.Clients().Name
	_, err = c.Do(ctx, Request{Verb: "create", Resource: "v1/nodes", Body: object{
		"apiVersion": "v1", "kind": "Node",
		"metadata": object{
			"name": name, "labels": object{"node.kubernetes.io/exclude-disruption": "true"},
		},
		"spec": object{
			"unschedulable": true,
			"taints":        []object{{"key": "reuseport-bench/clients", "effect": "NoSchedule"}},
		},
		"status": object{"addresses": []object{{
			"type": "InternalIP", "address": netlab.AddressesOfCluster().Client.String(),
		}}},
	}})
	return err
}

// Shared returns a directory of this machine that a pod can mount by hostPath, under the same path.
func (c *Cluster) Shared() string { return filepath.Join(c.directory, "shared") }

// Image returns the name of the image of this program. The nodes have it, so pods must not pull it.
// Its entrypoint is this program.
func (c *Cluster) Image() string { return imageName }

// Versions returns the versions of the parts, by their names.
func (c *Cluster) Versions() map[string]string { return maps.Clone(c.versions) }

// BootTime returns the time that Boot took.
func (c *Cluster) BootTime() time.Duration { return c.took }

// Failed returns a channel that gets an error when a part ends by itself: its name, how it ended,
// and the last lines of its log. Only the first failure is sent.
func (c *Cluster) Failed() <-chan error { return c.failed }

// Close ends every process of the cluster and removes its cgroups and its directory. Further calls
// do nothing and return the same error.
func (c *Cluster) Close() error {
	c.closing.Do(func() { c.err = c.end() })
	return c.err
}

func (c *Cluster) end() error {
	var all []func() error
	if c.bridge != nil {
		all = append(all, c.bridge.close)
	}
	for _, h := range []*host{c.control, c.clients, c.nodes[0].running(), c.nodes[1].running()} {
		if h != nil {
			all = append(all, h.close)
		}
	}
	err := together(all...)
	if c.sweeper != nil {
		err = errors.Join(err, endSweeper(c.sweeper))
	}
	if c.image != nil {
		err = errors.Join(err, c.image.Close())
	}
	return err
}

// together runs functions concurrently, and joins their errors.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var group sync.WaitGroup
	for i, f := range all {
		group.Go(func() { errs[i] = f() })
	}
	group.Wait()
	return errors.Join(errs...)
}

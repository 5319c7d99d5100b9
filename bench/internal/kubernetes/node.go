package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"reuseport-bench/bench/internal/netlab"
)

// Paths on a node.
const (
	containerdSocket = "/run/containerd/containerd.sock"
	containerdConfig = stateDirectory + "/containerd.toml"
	networkDirectory = stateDirectory + "/net.d"
	kubeletConfig    = stateDirectory + "/kubelet.json"
)

// nodeSysctls are the sysctls that a kubelet would change for the whole machine, with the values
// that it wants (setupKernelTunables in pkg/kubelet/cm/container_manager_linux.go).
var nodeSysctls = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10",
	"kernel/panic_on_oops": "1", "kernel/keys/root_maxkeys": "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// A node is one of the two nodes.
type node struct {
	*host   // nil until startNode
	in      *netlab.Host
	addr    netip.Addr
	pods    netip.Prefix
	cgroup  string    // path of the node's cgroup in every hierarchy
	crashed time.Time // when NodeDown was called; the zero value while the node runs
}

// containerd makes pods' networks with the plugins ptp and host-local: a veth pair for each pod,
// routed by the node. It does not lower the OOM score of sandboxes, because a container's root may
// not have CAP_SYS_RESOURCE.
func (c *Cluster) containerd(n *node) part {
	toml := fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
`, containerdSocket, pauseImage, filepath.Dir(c.parts.program("ptp")), networkDirectory)
	network := encode(object{
		"cniVersion": "0.4.0", "name": "pods", "plugins": []object{{
			"type": "ptp", "ipMasq": false, "mtu": 1500,
			"ipam": object{
				"type":   "host-local",
				"ranges": [][]object{{{"subnet": n.pods.String()}}},
				"routes": []object{{"dst": "198.18.0.0/15"}},
			},
		}},
	})
	return part{
		Name: "containerd", Args: []string{c.parts.program("containerd"), "-c", containerdConfig},
		Env: c.environment, Notifies: true,
		Make: map[string]string{
			containerdConfig: toml, filepath.Join(networkDirectory, "10-pods.conflist"): network,
		},
	}
}

// imports reads the images into containerd.
func (c *Cluster) imports() part {
	return part{
		Name: "ctr",
		Args: []string{
			c.parts.program("ctr"), "-a", containerdSocket, "-n", "k8s.io", "images", "import", "-",
		},
		Env: c.environment, Stdin: imageFile,
	}
}

func (c *Cluster) kubelet(n *node) part {
	config := object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"failCgroupV1": false, "cgroupDriver": "cgroupfs", "cgroupRoot": n.cgroup,
		"containerRuntimeEndpoint": "unix://" + containerdSocket,
		"authentication": object{
			"anonymous": object{"enabled": true}, "webhook": object{"enabled": false},
		},
		"authorization": object{"mode": "AlwaysAllow"},
		"address":       n.addr.String(), "healthzBindAddress": "127.0.0.1",
		"tlsCertFile": certificatePath, "tlsPrivateKeyFile": keyPath,
		"resolvConf": "", "clusterDomain": "", "failSwapOn": false,
		// With the machine's own sysctls covered, this checks and writes nothing of the machine.
		"protectKernelDefaults": true, "makeIPTablesUtilChains": false, "oomScoreAdj": 0,
		"enforceNodeAllocatable": []string{"pods"},
		"evictionHard": object{
			"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%",
		},
		"imageGCHighThresholdPercent": 100, "volumePluginDir": "/var/lib/kubelet/plugins",
	}
	if c.options.NodeGrace > 0 {
		// The kubelet renews its lease after a quarter of the lease's duration.
		config["nodeLeaseDurationSeconds"] = max(1, int(c.options.NodeGrace.Seconds()*4/5))
	}
	p := c.role("kubelet", "--config="+kubeletConfig, "--kubeconfig="+kubeconfigPath,
		"--hostname-override="+n.in.Name, "--node-ip="+n.addr.String())
	p.Make = map[string]string{
		kubeletConfig: encode(config), kubeconfigPath: c.credentials.kubeconfig(),
		certificatePath: c.credentials.certificate, keyPath: c.credentials.key,
	}
	return p
}

// startNode starts a node's supervisor and containerd, and imports the images.
func (c *Cluster) startNode(ctx context.Context, n *node) (err error) {
	n.host, err = c.startHost(ctx, n.in, nodeSysctls)
	if err != nil {
		return err
	}
	r, err := n.start(c.containerd(n), false)
	if err != nil {
		return err
	}
	if err := await(ctx, r.ready, r.exited); err != nil {
		return n.explain("containerd", err)
	}
	if err := n.run(ctx, c.imports()); err != nil {
		return fmt.Errorf("import of this program's image: %w", err)
	}
	return nil
}

// running returns the node's host, or nil if it was never started.
func (n *node) running() *host {
	if n == nil {
		return nil
	}
	return n.host
}

// joinNode starts a node's kubelet and kube-proxy, and waits until the node takes pods.
func (c *Cluster) joinNode(ctx context.Context, n *node, since time.Time) error {
	r, err := n.start(c.kubelet(n), false)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-r.exited:
			stop(errors.New(said(r.status)))
		case <-ctx.Done():
		}
	}()
	var proxyErr error
	var proxy sync.WaitGroup
	proxy.Go(func() { proxyErr = c.startProxy(ctx, n.host) })
	err = c.nodeStates.await(ctx, n.in.Name, since)
	proxy.Wait()
	if err != nil {
		// It is also why kube-proxy is not ready: that waits for the node's address.
		return n.explain("kubelet", err)
	}
	return proxyErr
}

// NodeDown ends a node as a power failure does: nobody is notified of anything, connections just
// fall silent. Further calls do nothing until NodeUp.
func (c *Cluster) NodeDown(i int) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	n := c.nodes[i]
	if !n.crashed.IsZero() {
		return nil
	}
	n.crashed = time.Now()
	return c.crash(i)
}

func (c *Cluster) crash(i int) error {
	n := c.nodes[i]
	// Silence comes first. Otherwise the kernel would close the connections of the processes that
	// it kills, and the other ends would know.
	errs := []error{c.options.Lab.NodeDown(i)}
	if n.host != nil {
		errs = append(errs, n.close())
	}
	errs = append(errs, c.options.Lab.RemoveDevices(n.in, "veth"), removeCgroup(n.cgroup))
	return errors.Join(errs...)
}

// NodeUp boots a node that is down, and returns when it takes pods again. Pods that the API still
// places on the node are started again. After an error the node is down.
func (c *Cluster) NodeUp(ctx context.Context, i int) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	n := c.nodes[i]
	if n.crashed.IsZero() {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, errLate)
	defer cancel()
	err := c.options.Lab.NodeUp(i)
	if err == nil {
		err = c.cgroups.make(n.cgroup)
	}
	if err == nil {
		err = c.startNode(ctx, n)
	}
	if err == nil {
		err = c.joinNode(ctx, n, n.crashed)
	}
	if err != nil {
		return errors.Join(err, c.crash(i))
	}
	n.crashed = time.Time{}
	return nil
}

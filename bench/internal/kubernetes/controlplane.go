package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"reuseport-bench/bench/internal/netlab"
)

const (
	etcdURL = "http://127.0.0.1:2379" // on the control plane's host
	apiPort = "6443"
)

// apiAddress is the address of kube-apiserver.
func apiAddress() string { return netlab.AddressesOfCluster().Control.String() + ":" + apiPort }

// controllers are the controllers that run. The others serve objects that a trial does not have.
var controllers = []string{
	"deployment-controller", "replicaset-controller", "endpointslice-controller",
	"node-lifecycle-controller", "taint-eviction-controller", "disruption-controller",
	"pod-garbage-collector-controller", "garbage-collector-controller", "namespace-controller",
}

// role returns a part that is a role of the Kubernetes binary.
func (c *Cluster) role(name string, flags ...string) part {
	return part{
		Name: name, Args: append([]string{c.parts.kubernetes, name}, flags...), Env: c.environment,
	}
}

func (c *Cluster) etcd() part {
	const peers = "http://127.0.0.1:2380"
	return c.role("etcd",
		"--name=lab", "--data-dir=/var/lib/etcd",
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+peers, "--initial-advertise-peer-urls="+peers,
		"--initial-cluster=lab="+peers, "--unsafe-no-fsync", "--log-level=warn")
}

// apiServer accepts every call by the one user. Service accounts need a key, although no pod has a
// token. The Service "kubernetes", which it makes at the first address of the range, has no
// endpoints.
func (c *Cluster) apiServer() part {
	a := netlab.AddressesOfCluster()
	p := c.role("kube-apiserver",
		"--etcd-servers="+etcdURL, "--bind-address="+a.Control.String(), "--secure-port="+apiPort,
		"--tls-cert-file="+certificatePath, "--tls-private-key-file="+keyPath,
		"--token-auth-file="+tokensPath, "--authorization-mode=AlwaysAllow",
		"--service-cluster-ip-range="+a.Services.String(), "--endpoint-reconciler-type=none",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+keyPath, "--service-account-signing-key-file="+keyPath,
		"--disable-admission-plugins=ServiceAccount", "--allow-privileged",
		"--kubelet-preferred-address-types=InternalIP")
	p.Make = map[string]string{
		certificatePath: c.credentials.certificate, keyPath: c.credentials.key,
		tokensPath: c.credentials.tokens(), kubeconfigPath: c.credentials.kubeconfig(),
	}
	return p
}

func (c *Cluster) controllerManager() part {
	p := c.role("kube-controller-manager",
		"--kubeconfig="+kubeconfigPath, "--leader-elect=false", "--secure-port=0",
		"--use-service-account-credentials=false", "--controllers="+strings.Join(controllers, ","))
	if c.options.NodeGrace > 0 {
		p.Args = append(p.Args, "--node-monitor-grace-period="+c.options.NodeGrace.String(),
			"--node-monitor-period="+min(5*time.Second, c.options.NodeGrace/5).String())
	}
	return p
}

func (c *Cluster) scheduler() part {
	return c.role("kube-scheduler",
		"--kubeconfig="+kubeconfigPath, "--leader-elect=false", "--secure-port=0")
}

// startControl starts etcd and kube-apiserver, and returns when the API can be used.
func (c *Cluster) startControl(ctx context.Context) error {
	for _, p := range []part{c.etcd(), c.apiServer()} {
		if _, err := c.control.start(p, false); err != nil {
			return err
		}
	}
	client := c.control.client(&http.Transport{TLSClientConfig: c.credentials.tls()})
	err := poll(ctx, func() error {
		return c.get(ctx, client, "https://"+apiAddress()+"/readyz",
			func(string) error { return nil })
	})
	if err != nil {
		return c.control.explain("kube-apiserver", err)
	}
	return nil
}

// startControllers starts the parts that need the API.
func (c *Cluster) startControllers() error {
	for _, p := range []part{c.controllerManager(), c.scheduler()} {
		if _, err := c.control.start(p, false); err != nil {
			return err
		}
	}
	return nil
}

// get gets a URL, which must answer 200, and judges the answer.
func (c *Cluster) get(
	ctx context.Context, client *http.Client, url string, judge func(body string) error,
) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.credentials.token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return judge(string(body))
}

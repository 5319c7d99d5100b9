package kubernetes

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reuseport-bench/scenarios/vocabulary"
)

const proxyConfig = stateDirectory + "/kube-proxy.json"

// A Proxy is the configuration of kube-proxy on every host.
type Proxy struct {
	Mode vocabulary.ProxyMode // "" means nftables
	// MinSyncPeriod is the minimum time between two updates of the rules. 0 means 1 s, as for
	// kube-proxy.
	MinSyncPeriod time.Duration
}

func (p Proxy) withDefaults() Proxy {
	if p.Mode == "" {
		p.Mode = vocabulary.ProxyNftables
	}
	if p.MinSyncPeriod == 0 {
		p.MinSyncPeriod = time.Second
	}
	return p
}

const metricsAddress = "127.0.0.1:10249"

// kubeProxy does not change the conntrack sysctls of its network: they are as the lab has set them.
func (c *Cluster) kubeProxy(h *host) part {
	rules := object{"syncPeriod": "30s", "minSyncPeriod": c.proxy.MinSyncPeriod.String()}
	iptables := maps.Clone(rules)
	iptables["localhostNodePorts"] = false // it would set a sysctl of the host
	p := c.role("kube-proxy", "--config="+proxyConfig)
	p.Make = map[string]string{
		kubeconfigPath: c.credentials.kubeconfig(),
		proxyConfig: encode(object{
			"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
			"mode": c.proxy.Mode, "nftables": rules, "iptables": iptables,
			"clientConnection": object{"kubeconfig": kubeconfigPath},
			// Connections from these addresses keep their source.
			"clusterCIDR": "198.18.0.0/16", "hostnameOverride": h.at.Name,
			"metricsBindAddress": metricsAddress, "healthzBindAddress": "127.0.0.1:10256",
			"oomScoreAdj": 0,
			"conntrack": object{
				"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s",
				"tcpCloseWaitTimeout": "0s",
			},
		}),
	}
	return p
}

// startProxy starts a host's kube-proxy, and returns when it has written its rules.
func (c *Cluster) startProxy(ctx context.Context, h *host) error {
	r, err := h.start(c.kubeProxy(h), false)
	if err != nil {
		return err
	}
	client := h.client(&http.Transport{})
	err = poll(ctx, func() error {
		select {
		case <-r.exited:
			return nil
		default:
			return c.get(ctx, client, "http://"+metricsAddress+"/metrics", judgeSync)
		}
	})
	select {
	case <-r.exited:
		err = errors.New(said(r.status))
	default:
	}
	if err != nil {
		return h.explain("kube-proxy", err)
	}
	return nil
}

// judgeSync returns an error unless the metrics of a kube-proxy say that it has written its rules.
func judgeSync(metrics string) error {
	for line := range strings.Lines(metrics) {
		if !strings.HasPrefix(line, "kubeproxy_sync_proxy_rules_last_timestamp_seconds") {
			continue
		}
		fields := strings.Fields(line)
		at, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil || at > 0 {
			return err
		}
	}
	return errors.New("it has not written its rules yet")
}

// SetProxy changes the configuration of kube-proxy. If it differs from the current one, SetProxy
// restarts kube-proxy on every host that is up, and returns when all have written their rules. If
// the mode is the same, the rules of the old process stay in force until then. Otherwise the new
// process first removes those of the other mode (platformCleanup, cmd/kube-proxy/app).
func (c *Cluster) SetProxy(ctx context.Context, p Proxy) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if p = p.withDefaults(); p == c.proxy {
		return nil
	}
	if p.Mode == vocabulary.ProxyIptables {
		if err := c.parts.checkIptables(ctx); err != nil {
			return err
		}
	}
	was := c.proxy
	c.proxy = p
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, errLate)
	defer cancel()
	hosts := []*host{c.clients}
	for _, n := range c.nodes {
		if n.crashed.IsZero() {
			hosts = append(hosts, n.host)
		}
	}
	var restarts []func() error
	for _, h := range hosts {
		restarts = append(restarts, func() error {
			if err := h.kill(ctx, "kube-proxy"); err != nil {
				return h.explain("kube-proxy", err)
			}
			return c.startProxy(ctx, h)
		})
	}
	err := together(restarts...)
	if err != nil {
		c.proxy = was // so that the next call tries again
	}
	return err
}

// Package kubernetes runs a real Kubernetes cluster of two nodes inside a lab.
//
// Boot starts it. Each of the lab's hosts runs its parts under a supervisor:
//
//	control        etcd, kube-apiserver, kube-controller-manager, kube-scheduler, and the bridge
//	node-a, node-b containerd, kubelet and the pods; kube-proxy
//	clients        kube-proxy, so that clients' connections are translated where they begin
//
// All roles of Kubernetes are one binary, which 'make kube' builds; 'make kube-deps' unpacks
// containerd, runc, the CNI plugins and nft (see Find). The bridge is the cluster's only user: it
// passes on API calls and watches (Do, Watch), as lines of JSON, so that this program needs no
// Kubernetes library.
//
// A supervisor is PID 1 of a PID namespace, with a mount namespace in which everything that its
// parts write is in memory: file systems, certificates, logs. So a killed supervisor ends its host
// as a power failure ends a machine, and leaves nothing but cgroups. Nothing listens on the
// machine's own network. The cgroups and the cluster's directory are removed by a process of their
// own, the sweeper, even if this program is killed.
package kubernetes

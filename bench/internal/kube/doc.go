// Package kube switches traffic between pods as Kubernetes does: on every node, it changes the
// rules that translate a service's address into the address of a pod.
//
//	Kubelet ──ready, gone──► ControlPlane ──endpoints, lag──► Rules of every node ──nft──► kernel
//	   ▲                          │
//	   └──────deletion begun──────┘
//
// A ControlPlane holds services and pods, and updates the services' endpoints as the pods change.
// Embedded is a ControlPlane in this process. Its lags are settings, and its events have the same
// order as those of Kubernetes. The components of a real Kubernetes can implement the same
// interface. Rules are the data path of one node, the same that kube-proxy's nftables mode
// programs. A Kubelet manages the processes of one pod. It is not part of the control plane, and is
// not needed if real kubelets run the pods. A RulesWatch observes the rules that a real kube-proxy
// programs.
//
// All instants are from the clock that the processes of the program share (clock.Clock).
package kube

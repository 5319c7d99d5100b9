// Package kube switches traffic between pods as Kubernetes does: from outside, by changing the
// rules by which every node translates a service's address into a pod's.
//
//	Kubelet ──ready, gone──► ControlPlane ──endpoints, lag──► Rules of every node ──nft──► kernel
//	   ▲                          │
//	   └──────deletion begun──────┘
//
// A ControlPlane holds services and pods, and updates the services' endpoints as the pods change.
// Embedded runs in this process: its lags are settings, and its order of events is that of
// Kubernetes. The components of a real Kubernetes can implement the same interface. Rules is the
// data path of one node, the same that kube-proxy's nftables mode programs. A Kubelet manages the
// processes of one pod. It is not part of the control plane, and not needed where a real kubelet
// runs the pods.
//
// Instants are of the clock that all processes of the program share (clock.Clock).
package kube

// Package kube switches traffic between pods as Kubernetes does: from outside, by changing the
// rules by which every node turns a service's address into a pod's.
//
//	Kubelet ──ready, gone──► ControlPlane ──endpoints, after a lag──► Rules of every node ──nft──► kernel
//	   ▲                          │
//	   └──────deletion begun──────┘
//
// A ControlPlane knows services and pods, and makes the one follow the other. Embedded is the one
// in this process: its lags are settings, and everything else about it is the real thing's order of
// events. The parts of a real Kubernetes can stand behind the same interface. Rules are the data
// path of one node, the same as kube-proxy's nftables mode makes. A Kubelet is what happens to one
// pod's processes; it is no part of the control plane, and not needed where a real kubelet runs the
// pods.
//
// Instants are of the clock that all processes of the program share (clock.Clock).
package kube

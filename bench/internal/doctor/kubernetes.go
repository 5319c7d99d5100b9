package doctor

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"reuseport-bench/bench/internal/kubernetes"
	"reuseport-bench/servers/sys"
)

// probeKubernetes looks for the parts of a real Kubernetes, and checks that this process may make
// its nodes. A user namespace does not suffice: a kubelet makes cgroups of the machine.
func probeKubernetes() Result {
	if !sys.InInitialUserNamespace() || !sys.Holds(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN) {
		return no("needs root", "run as root")
	}
	if _, err := kubernetes.Find(""); err != nil {
		return no(err.Error(), kubernetes.MakeHint)
	}
	return yes("all parts are there")
}

// probeCgroups makes a node's cgroup in every hierarchy, and removes it.
func probeCgroups() Result {
	version, err := kubernetes.TryCgroups()
	if err != nil {
		return no(err.Error(), rootHint(err, "in a container, mount "+kubernetes.CgroupMount+
			" of the machine, writable"))
	}
	return yes("made one in every hierarchy, cgroups %s", version)
}

// probeOverlayfs mounts an overlay as containerd does.
func probeOverlayfs() Result {
	if err := kubernetes.TryOverlay(); err != nil {
		return no(err.Error(), rootHint(err, "modprobe overlay, as root"))
	}
	return yes("mounted one, in a mount namespace")
}

// rootHint returns the hint for an error: to run as root, if that may help.
func rootHint(err error, otherwise string) string {
	if errors.Is(err, fs.ErrPermission) && !sys.Holds(unix.CAP_SYS_ADMIN) {
		return "run as root"
	}
	return otherwise
}

package doctor

import (
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"reuseport-bench/servers/sys"
)

// probeKubernetes checks whether this process may make the nodes of a real Kubernetes, and whether
// its parts have been built.
func probeKubernetes() Result {
	if os.Geteuid() != 0 || !sys.Holds(unix.CAP_SYS_ADMIN) {
		return no("no CAP_SYS_ADMIN", "run as root")
	}
	self, err := os.Executable()
	if err != nil {
		return unknown(err.Error(), "")
	}
	dir := os.Getenv("REUSEPORT_BENCH_KUBE")
	if dir == "" {
		dir = filepath.Join(filepath.Dir(self), "kube")
	}
	program := filepath.Join(dir, "kubernetes")
	if _, err := exec.LookPath(program); err != nil {
		return no(program+" is not there; run 'make kube-deps kube'", "make kube-deps kube")
	}
	return yes("%s", program)
}

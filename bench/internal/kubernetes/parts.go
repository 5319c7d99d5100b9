package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// PartsVariable is the environment variable with the directory of the parts, if it is not "kube"
// beside this program.
const PartsVariable = "REUSEPORT_BENCH_KUBE"

// MakeHint is the command that gets the parts.
const MakeHint = "make kube-deps kube"

// Parts are the programs that a cluster consists of.
type Parts struct {
	kubernetes string // path of the binary of all Kubernetes roles
	deps       string // directory with unpacked packages
}

// programs are the programs below Parts.deps.
var programs = []string{
	"usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr", "usr/sbin/runc",
	"usr/sbin/nft", "usr/sbin/iptables", "usr/sbin/iptables-restore", "usr/sbin/iptables-save",
	"usr/lib/cni/host-local", "usr/lib/cni/loopback", "usr/lib/cni/ptp",
}

// Find finds the parts in a directory. If dir is empty, that is the directory named by
// PartsVariable, or else "kube" beside this program. The error names everything that is missing,
// and how to get it.
func Find(dir string) (Parts, error) {
	if dir == "" {
		dir = os.Getenv(PartsVariable)
	}
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return Parts{}, err
		}
		dir = filepath.Join(filepath.Dir(self), "kube")
	}
	p := Parts{filepath.Join(dir, "kubernetes"), filepath.Join(dir, "deps")}
	var missing []string
	for _, path := range p.all() {
		if _, err := exec.LookPath(path); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return Parts{}, err
			}
			missing = append(missing, filepath.Base(path))
		}
	}
	if len(missing) > 0 {
		return Parts{}, fmt.Errorf("%s lacks parts of Kubernetes (%s); run '%s', or set %s",
			dir, strings.Join(missing, ", "), MakeHint, PartsVariable)
	}
	for _, path := range []*string{&p.kubernetes, &p.deps} {
		// A supervisor shows these paths to its parts, so they must not lead over links.
		resolved, err := filepath.Abs(*path)
		if err == nil {
			resolved, err = filepath.EvalSymlinks(resolved)
		}
		if err != nil {
			return Parts{}, err
		}
		*path = resolved
	}
	return p, nil
}

func (p Parts) all() []string {
	all := []string{p.kubernetes}
	for _, name := range programs {
		all = append(all, filepath.Join(p.deps, name))
	}
	return all
}

// program returns the path of a program of the packages, such as "ctr".
func (p Parts) program(name string) string {
	for _, path := range p.all() {
		if filepath.Base(path) == name {
			return path
		}
	}
	panic("no part " + name)
}

// environment returns the environment of every part. It has nothing of this program's own, such as
// proxy settings.
func (p Parts) environment() []string {
	// The libraries of nft and iptables are in a directory that is named for the architecture.
	libraries, _ := filepath.Glob(filepath.Join(p.deps, "usr/lib/*-linux-*"))
	var modules []string
	for _, dir := range libraries {
		modules = append(modules, filepath.Join(dir, "xtables"))
	}
	return []string{
		"PATH=" + filepath.Join(p.deps, "usr/sbin") + ":" + filepath.Join(p.deps, "usr/bin") +
			":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LD_LIBRARY_PATH=" + strings.Join(libraries, ":"),
		"XTABLES_LIBDIR=" + strings.Join(modules, ":"),
		"HOME=" + stateDirectory, "TMPDIR=" + temporaryDirectory,
	}
}

// Versions returns the versions of the parts.
func (p Parts) Versions(ctx context.Context) (map[string]string, error) {
	out, err := p.run(ctx, p.kubernetes, "versions")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("%s versions: %w", p.kubernetes, err)
	}
	for _, name := range []string{"containerd", "runc", "nft", "iptables"} {
		out, err := p.run(ctx, p.program(name), "--version")
		if err != nil {
			return nil, err
		}
		all[name] = version(out)
	}
	return all, nil
}

// checkIptables returns an error if iptables does not write to nftables. The kernel announces only
// commits of nftables, so changes by another iptables have no known instant.
func (p Parts) checkIptables(ctx context.Context) error {
	out, err := p.run(ctx, p.program("iptables"), "--version")
	if err == nil && !strings.Contains(out, "(nf_tables)") {
		err = fmt.Errorf("%s is %s: kube.proxy_mode: iptables needs one that writes to nftables; "+
			"link xtables-nft-multi as iptables, iptables-save and iptables-restore",
			p.program("iptables"), strings.TrimSpace(out))
	}
	return err
}

// version returns the first word of a program's description of itself that begins like a version.
func version(described string) string {
	for _, word := range strings.Fields(described) {
		if word = strings.TrimPrefix(word, "v"); word[:min(1, len(word))] >= "0" && word < ":" {
			return word
		}
	}
	return strings.TrimSpace(described)
}

func (p Parts) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = p.environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s",
			strings.Join(args, " "), err, lastLines(stderr.String()))
	}
	return string(out), nil
}

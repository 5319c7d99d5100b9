package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The committed eBPF programs match their source. The test is skipped unless clang has the version
// with which they were generated.
func TestGenerated(t *testing.T) {
	const compiler = "Debian clang version 14.0.6"
	for _, tool := range []string{"clang", "llvm-strip", "gcc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("not checked: %v", err)
		}
	}
	if _, err := os.Stat("/usr/include/bpf/bpf_helpers.h"); err != nil {
		t.Skipf("not checked, install libbpf-dev: %v", err)
	}
	version, err := exec.Command("clang", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	if line, _, _ := strings.Cut(string(version), "\n"); line != compiler {
		t.Skipf("not checked: clang here is %q, what is committed was made by %q", line, compiler)
	}
	for _, pkg := range []string{
		"servers/selector", "bench/internal/kernel", "bench/internal/witness",
	} {
		t.Run(pkg, func(t *testing.T) { testGenerated(t, "../"+pkg) })
	}
}

// testGenerated compiles the programs of the package in dir and compares them with the committed
// ones.
func testGenerated(t *testing.T, dir string) {
	fresh := t.TempDir()
	cmd := exec.Command("go", "generate", dir)
	cmd.Env = append(os.Environ(), "BPF_OUTPUT="+fresh)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go generate: %v\n%s", err, out)
	}
	files, err := filepath.Glob(dir + "/*_bpfe[bl].*")
	if err != nil || len(files) == 0 || len(files)%4 != 0 {
		t.Fatalf("got files %v, %v; want 4 for each source", files, err)
	}
	for _, name := range files {
		source := name[:strings.LastIndex(name, "_bpfe")] + ".c"
		if _, err := os.Stat(source); err != nil {
			t.Errorf("%s is not named for its source: %v", name, err)
		}
		got, err := os.ReadFile(filepath.Join(fresh, filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale (%v): run go generate %s", name, err, dir)
		}
	}
}

package kubernetes

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/servers/testkit"
)

func TestFindNamesWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := Find(dir)
	if err == nil {
		t.Fatal("no error for an empty directory")
	}
	for _, want := range []string{
		dir + " lacks", "(kubernetes, containerd,", "runc", "make kube-deps kube", PartsVariable,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

func TestFind(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	for _, path := range append([]string{"../kubernetes"}, programs...) {
		path = filepath.Join(cache, "deps", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"kubernetes", "deps"} {
		if err := os.Symlink(filepath.Join(cache, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(PartsVariable, dir)
	p, err := Find("")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.program("ctr"), filepath.Join(cache, "deps/usr/bin/ctr"); got != want {
		t.Errorf("ctr is %s, want %s: links are resolved", got, want)
	}
}

func TestVersion(t *testing.T) {
	for described, want := range map[string]string{
		"containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1\n": "1.6.20~ds1",
		"runc version 1.1.5+ds1\ncommit: 1.1.5\n":                                  "1.1.5+ds1",
		"nftables v1.0.6 (Lester Gooch #5)\n":                                      "1.0.6",
		"no number\n":                                                              "no number",
	} {
		if got := version(described); got != want {
			t.Errorf("%q: %q, want %q", described, got, want)
		}
	}
}

const hybrid = `23 1 8:1 / / rw - ext4 /dev/sda1 rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 23 0:38 / /mnt/elsewhere rw,relatime - cgroup2 cgroup2 rw
`

func TestParseHierarchies(t *testing.T) {
	got, err := parseHierarchies(strings.NewReader(hybrid))
	want := []hierarchy{
		{"/sys/fs/cgroup/cpu,cpuacct", []string{"rw", "cpu", "cpuacct"}},
		{"/sys/fs/cgroup/systemd", []string{"rw", "name=systemd"}},
		{"/sys/fs/cgroup/unified", nil},
	}
	if diff := cmp.Diff(got, want, cmp.AllowUnexported(hierarchy{})); diff != "" || err != nil {
		t.Errorf("got, want, error %v:\n%s", err, diff)
	}
	if err := lacking(controllersV1, got[0].controllers); err == nil ||
		!strings.Contains(err.Error(), `"cpuset"`) {
		t.Errorf("without cpuset: %v", err)
	}
}

// With cgroups v2, a node's cgroup gets what a kubelet asks for, as far as the machine has it.
func TestGivenControllers(t *testing.T) {
	have := []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"}
	want := []string{"cpu", "cpuset", "memory", "pids", "hugetlb"}
	if diff := cmp.Diff(givenOf(have), want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	got := givenOf([]string{"cpu", "memory", "pids"})
	if err := lacking(controllersV2, got); err == nil || !strings.Contains(err.Error(), "cpuset") {
		t.Errorf("without cpuset: %v", err)
	}
	dir := t.TempDir()
	control := filepath.Join(dir, subtreeControl)
	if err := os.WriteFile(control, []byte("cpu memory pids\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing, err := notEnabled(dir, givenOf(have))
	if diff := cmp.Diff(missing, []string{"cpuset", "hugetlb"}); diff != "" || err != nil {
		t.Errorf("error %v, missing (-got +want):\n%s", err, diff)
	}
}

// programOf returns an ELF file with one segment of that type.
func programOf(t *testing.T, segment elf.ProgType) []byte {
	t.Helper()
	const headerSize, segmentSize = 64, 56
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: headerSize, Ehsize: headerSize, Phentsize: segmentSize, Phnum: 1,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	var b bytes.Buffer
	for _, part := range []any{h, elf.Prog64{Type: uint32(segment)}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestWriteImage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, programOf(t, elf.PT_INTERP), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := writeImage(program, "pause"); err == nil ||
		!strings.Contains(err.Error(), "make build") {
		t.Errorf("a program that needs a dynamic linker: %v", err)
	}
	if err := os.WriteFile(program, programOf(t, elf.PT_LOAD), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := writeImage(program, "pause")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(f); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		text, readErr := io.ReadAll(archive)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal([]byte(files["manifest.json"]), &manifest); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{`"Entrypoint":["/reuseport-bench"]`,
		`"Entrypoint":["/reuseport-bench","pause"]`} {
		if config := files[manifest[i].Config]; !strings.Contains(config, want) {
			t.Errorf("image %v: %s lacks %s", manifest[i].RepoTags, config, want)
		}
		if files[manifest[i].Layers[0]] == "" {
			t.Errorf("image %v has no layer", manifest[i].RepoTags)
		}
	}
	if _, err := writeImage(program+"x", "pause"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program: %v", err)
	}
}

func TestNodeStates(t *testing.T) {
	s := newNodeStates()
	down := time.Date(2026, 1, 1, 0, 0, 5, 900e6, time.UTC)
	say := func(ready, heartbeat, taints string) {
		s.event(WatchEvent{Type: Modified, Object: json.RawMessage(`{"metadata":{"name":"n"},
			"spec":{"taints":[` + taints + `]},"status":{"conditions":[{"type":"DiskPressure"},
			{"type":"Ready","status":"` + ready + `","message":"why",
			"lastHeartbeatTime":"` + heartbeat + `"}]}}`)})
	}
	const before, after, taint = "2026-01-01T00:00:05Z", "2026-01-01T00:00:06Z", `{"key":"k"}`
	for _, c := range []struct{ name, ready, heartbeat, taints, want string }{
		{"old report", "True", before, "", "has not reported"},
		{"not ready", "False", after, "", "Ready is False: why"},
		{"tainted", "True", after, taint, "taint k"},
		{"ready", "True", after, "", ""},
	} {
		say(c.ready, c.heartbeat, c.taints)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := s.await(ctx, "n", down)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	done := make(chan error)
	go func() { done <- s.await(t.Context(), "m", time.Time{}) }()
	s.event(WatchEvent{Type: Added, Object: json.RawMessage(`{"metadata":{"name":"m"},"status":
		{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":"` + after + `"}]}}`)})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestJudgeSync(t *testing.T) {
	const name = "kubeproxy_sync_proxy_rules_last_timestamp_seconds"
	for metrics, synced := range map[string]bool{
		"":                                    false,
		name + " 0\n":                         false,
		name + "{ip_family=\"IPv4\"} 1.7e9\n": true,
		"# HELP " + name + " x 1\n":           false,
	} {
		if err := judgeSync(metrics); (err == nil) != synced {
			t.Errorf("%q: %v", metrics, err)
		}
	}
}

func TestLastLines(t *testing.T) {
	log := strings.Repeat("x\n", 20) + strings.Repeat("y", 500) + "\n"
	want := strings.Repeat("x\n", 9) + strings.Repeat("y", 400) + "…"
	if got := lastLines(log); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBridge runs the bridge's protocol against a shell script.
func TestBridge(t *testing.T) {
	const script = `
		read line; echo '{"id":1,"at":7,"object":{"a":1}}'
		read line; echo '{"id":2,"at":8,"error":"gone","reason":"NotFound","code":404}'
		read line; echo '{"id":3,"at":9}{"watch":3,"at":10,"type":"ADDED","object":{"b":2}}'
		read line; echo "no more" >&2; exit 3`
	in, requests, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	replies, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdin, cmd.Stdout = in, out
	b, err := newBridge(cmd, nil, nil, requests, replies, func(err error) { failed <- err })
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	c := &Cluster{bridge: b}
	object, err := c.Do(t.Context(), Request{Verb: "get", Resource: "v1/pods", Name: "p"})
	if string(object) != `{"a":1}` || err != nil {
		t.Errorf("got %s, %v", object, err)
	}
	_, err = c.Do(t.Context(), Request{Verb: "get", Resource: "v1/pods", Name: "p"})
	var answer *APIError
	if !errors.As(err, &answer) || answer.Code != 404 || answer.Reason != "NotFound" {
		t.Errorf("got %v, want 404 NotFound", err)
	}
	events := make(chan WatchEvent, 1)
	watch := func(e WatchEvent) { events <- e }
	if err := c.Watch(t.Context(), "v1/pods", "", watch); err != nil {
		t.Fatal(err)
	}
	want := WatchEvent{At: 10, Type: Added, Object: json.RawMessage(`{"b":2}`)}
	if diff := cmp.Diff(<-events, want); diff != "" {
		t.Errorf("got, want:\n%s", diff)
	}
	_, err = c.Do(t.Context(), Request{Verb: "delete", Resource: "v1/pods", Name: "p"})
	if !errors.Is(err, errEnded) {
		t.Errorf("got %v, want %v", err, errEnded)
	}
	if err := <-failed; !strings.Contains(err.Error(), "exit status 3: no more") {
		t.Errorf("the failure of the bridge: %v", err)
	}
	if err := b.close(); err != nil {
		t.Error(err)
	}
}

func TestKernelProbes(t *testing.T) {
	testkit.RequireRoot(t)
	if version, err := TryCgroups(); err != nil {
		testkit.Skip(t, "%v", err)
	} else if version != "v1" && version != "v2" {
		t.Errorf("cgroups %q", version)
	}
	if left, _ := filepath.Glob(CgroupMount + "/*/reuseport-bench-probe-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := TryOverlay(); err != nil {
		testkit.Skip(t, "%v", err)
	}
}

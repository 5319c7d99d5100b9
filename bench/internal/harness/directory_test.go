package harness

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNewDirectory checks that runs that start at the same time get different directories, and that
// empty directories are removed.
func TestNewDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	var mu sync.Mutex
	var paths []string
	var started sync.WaitGroup
	all := make([]*Directory, 16)
	for i := range all {
		started.Go(func() {
			d, err := NewDirectory("results/runs/now")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all[i], paths = d, append(paths, d.Path())
		})
	}
	started.Wait()
	slices.Sort(paths)
	if paths = slices.Compact(paths); len(paths) != len(all) || t.Failed() {
		t.Fatalf("%d runs got the directories %q", len(all), paths)
	}
	keep := filepath.Join(all[0].Path(), "run.json")
	if err := os.WriteFile(keep, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, d := range all {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	want := []string{".", "results", "results/runs", all[0].Path(), keep}
	if diff := cmp.Diff(want, tree(t)); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
}

func TestVacantDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, path := range []string{"a/b/c", "a/b/c/", "./d", "../" + filepath.Base(dir(t)) + "/e"} {
		d, err := VacantDirectory(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if info, err := os.Stat(path); err != nil || !info.IsDir() {
			t.Errorf("%s: %v", path, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := tree(t); len(got) != 1 {
		t.Errorf("left behind: %q", got)
	}
	if err := os.Mkdir("there", 0o777); err != nil {
		t.Fatal(err)
	}
	d, err := VacantDirectory("there")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile("there/file", nil, 0o666); err != nil {
		t.Fatalf("a directory that existed before was removed: %v", err)
	}
	if err := os.Symlink("nowhere", "link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"there": `is not empty (it has "file")`, "there/file": "is a file",
		"there/file/x/y": "not a directory", "link": "no such file", "link/x": "no such file",
	} {
		if d, err := VacantDirectory(path); err == nil {
			t.Errorf("%s: no error", path)
			_ = d.Close()
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", path, err, want)
		}
	}
	if got := tree(t); len(got) != 4 {
		t.Errorf("left behind: %q", got)
	}
}

func dir(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tree returns the names below the current directory.
func tree(t *testing.T) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestUnmakeableDirectory checks that the error has one message, even if several parents cannot be
// made.
func TestUnmakeableDirectory(t *testing.T) {
	_, err := makeDirectory("/proc/none/a/b")
	if err == nil || strings.Count(err.Error(), "--out") != 1 ||
		!strings.HasPrefix(err.Error(), `run directory "/proc/none/a/b": `) {
		t.Errorf("got %v, want one message that names the directory", err)
	}
}

package scenarios

import "testing"

// The table of names in Kubernetes has keys of scenario files only.
func TestInKubernetes(t *testing.T) {
	known := map[string]bool{}
	for _, k := range Keys() {
		known[k.Path] = true
	}
	for path, names := range inKubernetes() {
		if !known[path] || len(names) == 0 {
			t.Errorf("%s: is a key: %t; names %q", path, known[path], names)
		}
	}
}

package scenarios

import "testing"

// Every key in the table inKubernetes is a key of scenario files.
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

package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain runs the program instead of the tests if the test binary was started in a child role or
// under the program's name. So the binary can also serve as the program's child processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && childRoles[os.Args[1]] != nil {
		main() // exits
	}
	if len(os.Args) > 2 && os.Args[1] == burner {
		if err := burn(os.Args[2]); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == measured {
		os.Exit(runMeasured(os.Args[2:]))
	}
	testscript.Main(m, map[string]func(){"reuseport-bench": main})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

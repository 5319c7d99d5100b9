package netlab

import (
	"context"
	"os"
	"testing"

	"go.uber.org/goleak"
)

const roleInit = "netlab-test-init"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == roleInit {
		if err := Init(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	// An ordinary user's tests run in a user namespace, if the system allows one. Otherwise each
	// test is skipped.
	if status, entered, err := Enter(context.Background()); entered && err == nil {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

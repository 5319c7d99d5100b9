package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// A report on one scenario has the advice and the claims of that scenario only.
func TestReportOfOneScenario(t *testing.T) {
	printed := func(args ...string) string {
		var stdout bytes.Buffer
		root := newRoot(&session{}, &stdout, io.Discard)
		root.SetOut(&stdout)
		root.SetArgs(append([]string{"report", "--full", "../results/baseline/default"}, args...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return stdout.String()
	}
	const ofStall, ofRestart = "If a worker may stop accepting", "Do not stop a worker by merely"
	all, restart := printed(), printed("--scenario", "restart")
	for _, want := range []string{ofStall, ofRestart} {
		if !strings.Contains(all, want) {
			t.Errorf("the whole report lacks %q", want)
		}
	}
	if !strings.Contains(restart, ofRestart) || strings.Contains(restart, ofStall) {
		t.Errorf("the report on restart has the advice:\n%s", restart)
	}
}

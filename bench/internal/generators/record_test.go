package generators

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// TestRecord checks that a written record can be read, and that a changed digit is an error.
func TestRecord(t *testing.T) {
	lag := 12 * time.Microsecond
	want := &Record{
		Version: RecordVersion, Program: "v1", StartedAt: time.Unix(1e9, 0).UTC(), Kernel: "6.18",
		CPUs: 2, Rounds: 3,
		Generators: []*Generator{
			{Name: Ours, Connections: "new", Runs: []Run{{
				Flat:   &Flat{PerSecond: 30000, CPU: 33 * time.Microsecond, WorkerBusy: 0.9},
				Paced:  &Paced{CPU: lag, Lag: &lag, Response: &results.Percentiles{P50: 47000}},
				Stolen: 0.01,
			}}},
			{Name: Hey, Connections: "new", Problem: "exit status 7"},
		},
	}
	var text bytes.Buffer
	if err := want.Write(&text); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "record.json")
	read := func(text string) (*Record, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return ReadRecord(path)
	}
	got, err := read(text.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("read again (-got +want):\n%s", diff)
	}
	for name, c := range map[string]struct{ old, new, want string }{
		"digit":   {"30000", "40000", "checksum"},
		"version": {`"generators_version": 1`, `"generators_version": 2`, "version is 2"},
		"form":    {`"rounds"`, `"turns"`, "not a record"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(strings.Replace(text.String(), c.old, c.new, 1))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

package formats

import (
	"encoding/csv"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/report"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/stored"
	"reuseport-bench/servers/testkit"
)

// printers has the functions that print the package's formats.
var printers = map[string]func(io.Writer, *results.Run, report.Options) error{
	"csv": CSV, "junit": JUnit, "benchfmt": Benchfmt,
}

func TestGolden(t *testing.T) {
	files := map[string]string{"csv": "csv", "junit": "junit.xml", "benchfmt": "benchfmt"}
	for _, test := range []struct {
		name, format string
		run          *results.Run
	}{
		{"finished", "csv", reporttest.FinishedRun()},
		{"finished", "junit", reporttest.FinishedRun()},
		{"finished", "benchfmt", reporttest.FinishedRun()},
		{"small", "junit", reporttest.SmallRun()},
		{"small", "benchfmt", reporttest.SmallRun()},
		{"interrupted", "junit", reporttest.InterruptedRun()},
		{"interrupted", "benchfmt", reporttest.InterruptedRun()},
		{"stopped", "junit", reporttest.StoppedRun()},
	} {
		file := test.name + "." + files[test.format]
		t.Run(file, func(t *testing.T) {
			testkit.Golden(t, file, reporttest.Printed(t, printers[test.format], test.run))
		})
	}
}

func TestEveryFormatOfLittle(t *testing.T) {
	for name, run := range reporttest.LittleRuns() {
		for format, p := range printers {
			t.Run(name+" "+format, func(t *testing.T) {
				if out := reporttest.Printed(t, p, run); out == "" && run.Scenarios != nil {
					t.Error("printed nothing")
				}
			})
		}
	}
}

func TestOptionsScenarios(t *testing.T) {
	for format, p := range printers {
		err := p(io.Discard, reporttest.FinishedRun(), report.Options{Scenarios: []string{"burst"}})
		const want = `"burst" is not in this run; it has rolling-restart, steady`
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

// The printers return write errors, such as that of a full disk.
func TestWriteErrors(t *testing.T) {
	for format, p := range printers {
		whole := len(reporttest.Printed(t, p, reporttest.FinishedRun()))
		for _, room := range []int{0, 1, whole / 2, whole - 1} {
			w := reporttest.Failing(room)
			if err := p(&w, reporttest.FinishedRun(), report.Options{}); err == nil {
				t.Errorf("%s: no error although only %d of %d bytes were written", format, room,
					whole)
			}
		}
	}
}

func TestFormatsKeepPrecision(t *testing.T) {
	run := reporttest.SharesRun()
	run.Scenarios[0].Variants[0].Trials[0].Occupancy.Load = 0.1234567890123456
	for _, format := range []string{"csv", "benchfmt"} {
		out := reporttest.Printed(t, printers[format], run)
		if !strings.Contains(out, "0.1234567890123456") {
			t.Errorf("%s lost digits", format)
		}
	}
}

// A run that was stored and loaded is printed like the run before it was stored.
func TestStoredRun(t *testing.T) {
	run, err := stored.Load("../testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	for format, p := range printers {
		original, loaded := reporttest.Printed(t, p, reporttest.SmallRun()),
			reporttest.Printed(t, p, run)
		if diff := cmp.Diff(original, loaded); diff != "" {
			t.Errorf("%s (-original +loaded):\n%s", format, diff)
		}
	}
}

func TestCSVIsOneRowPerTrial(t *testing.T) {
	text := reporttest.Printed(t, CSV, reporttest.FinishedRun())
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 + 8 + 10 + 3 + 8; len(rows) != want {
		t.Errorf("got %d rows, want %d", len(rows), want)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	first, lagging, steady := rows[1], rows[1+8+9], rows[1+8+10+3]
	for _, test := range []struct {
		row          []string
		column, want string
	}{
		{first, "scenario", "rolling-restart"},
		{first, "label.stop", "close"},
		{first, "valid", "true"},
		{first, "lost", "2"},
		{first, "lost_by_cause.reset_at_close", "2"},
		{first, "response_p99_ns", "910000"},
		{first, "gap_ns", "500000"},
		{lagging, "valid", "false"},
		{
			lagging, "invalid_reasons",
			"schedule lag p99 31.2 ms > 10 % of response p99; residual is 1, not 0",
		},
		{steady, "scenario", "steady"},
		{steady, "label.stop", ""},
		{steady, "gap_ns", ""},
		{steady, "lost_sent_after_close", ""},
	} {
		if got := test.row[column[test.column]]; got != test.want {
			t.Errorf("%s: got %q, want %q", test.column, got, test.want)
		}
	}
}

func TestTries(t *testing.T) {
	run := reporttest.FinishedRun()
	for _, trial := range run.Scenarios[0].Variants[0].Trials {
		trial.Retries = &results.Retries{
			Tries: trial.Attempts * 5 / 4, Masked: 8, MaskedNS: &results.Percentiles{P50: 137e6},
		}
	}
	lines := reporttest.Printed(t, Benchfmt, run)
	for _, want := range []string{" 1.25 tries/attempt", " 0.137 masked-p50-sec"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in\n%.2000s", want, lines)
		}
	}
}

func TestNeverSent(t *testing.T) {
	run := reporttest.FinishedRun()
	trial := reporttest.RestartTrial(0, 0, 0, 0, 0, 0)
	reporttest.NeverSend(trial, 50)
	run.Scenarios[0].Variants[0].Trials = []*results.Trial{trial}
	if csv := reporttest.Printed(t, CSV, run); !strings.Contains(csv, "5950,50,0,50,0,5,") {
		t.Errorf("CSV lacks 50 never sent of 50 lost:\n%.1500s", csv)
	}
}

// The texts in JUnit XML have none of the faults that reporttest.Faults finds.
func TestJUnitReadsWell(t *testing.T) {
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "interrupted": reporttest.InterruptedRun(),
		"small": reporttest.SmallRun(), "nasty": reporttest.NastyRun(),
		"gated": reporttest.GatedRun(), "shares": reporttest.SharesRun(),
		"few": reporttest.FewRun(),
	} {
		for _, fault := range reporttest.Faults(reporttest.Printed(t, JUnit, run)) {
			t.Errorf("%s: %s", name, fault)
		}
	}
}

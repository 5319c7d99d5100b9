package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/report/reporttest"
	"reuseport-bench/results/stored"
	"reuseport-bench/results/summary"
	"reuseport-bench/scenarios/vocabulary"
	"reuseport-bench/servers/testkit"
)

// printer prints a run in one of the package's formats.
type printer func(io.Writer, *results.Run, Options) error

func TestGolden(t *testing.T) {
	for _, test := range []struct {
		file  string
		print printer
		run   *results.Run
	}{
		{"finished.txt", Text, reporttest.FinishedRun()},
		{"finished.md", Markdown, reporttest.FinishedRun()},
		{"page.html", HTML, reporttest.PagedRun()},
		{"small.json", JSON, reporttest.SmallRun()},
		{"watched.txt", Text, reporttest.WatchedRun()},
		{"watched.losses.txt", Losses, reporttest.WatchedRun()},
		{"foreign.txt", Text, reporttest.ForeignRun()},
		{"foreign.ledger.txt", Ledger, reporttest.ForeignRun()},
		{"loops.txt", Text, reporttest.LoopsRun()},
		{"interrupted.txt", Text, reporttest.InterruptedRun()},
		{"interrupted.md", Markdown, reporttest.InterruptedRun()},
		{"ledger.txt", Ledger, reporttest.FinishedRun()},
		{"losses.txt", Losses, reporttest.FinishedRun()},
		{"claims.txt", Claims, reporttest.FinishedRun()},
		{"finished.github.md", GitHub, reporttest.FinishedRun()},
		{"gated.github.md", GitHub, reporttest.GatedRun()},
		{"gated.annotations.txt", Annotations, reporttest.GatedRun()},
		{"interrupted.github.md", GitHub, reporttest.InterruptedRun()},
		{"interrupted.annotations.txt", Annotations, reporttest.InterruptedRun()},
		{"stopped.txt", Text, reporttest.StoppedRun()},
		{"stopped.github.md", GitHub, reporttest.StoppedRun()},
		{"stopped.annotations.txt", Annotations, reporttest.StoppedRun()},
	} {
		t.Run(test.file, func(t *testing.T) {
			testkit.Golden(t, test.file, reporttest.Printed(t, test.print, test.run))
		})
	}
}

// A run that was printed as JSON can be read, and printing it again gives the same text.
func TestJSONRoundTrip(t *testing.T) {
	run, err := stored.Load(filepath.Join("testdata", "small.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]printer{"text": Text, "json": JSON, "ledger": Ledger} {
		if diff := cmp.Diff(reporttest.Printed(t, p, reporttest.SmallRun()),
			reporttest.Printed(t, p, run)); diff != "" {
			t.Errorf("%s (-made +loaded):\n%s", name, diff)
		}
	}
}

// No line of text exceeds the width, and no character moves the cursor.
func TestTextWidth(t *testing.T) {
	for name, run := range map[string]*results.Run{
		"finished": reporttest.FinishedRun(), "interrupted": reporttest.InterruptedRun(),
		"nasty": reporttest.NastyRun(), "watched": reporttest.WatchedRun(),
	} {
		for format, p := range map[string]printer{
			"text": Text, "ledger": Ledger, "losses": Losses, "claims": Claims,
		} {
			for _, width := range reporttest.Widths() {
				out := reporttest.Printed(t, func(w io.Writer, run *results.Run, _ struct{}) error {
					return p(w, run, Options{Width: width})
				}, run)
				textFits(t, fmt.Sprintf("%s %s", name, format), out, width)
			}
		}
	}
}

func textFits(t *testing.T, name, out string, width int) {
	t.Helper()
	for number, line := range strings.Split(out, "\n") {
		if w := document.DisplayWidth(line); w > width {
			t.Errorf("%s:%d: %d columns instead of %d: %s", name, number+1, w, width, line)
		}
		if line != strings.TrimRight(line, " ") {
			t.Errorf("%s:%d: trailing space: %q", name, number+1, line)
		}
		if i := strings.IndexFunc(line, unicode.IsControl); i >= 0 || !utf8.ValidString(line) {
			t.Errorf("%s:%d: control character: %q", name, number+1, line)
		}
	}
}

// The layout does not change in a Chinese locale. Table libraries read the environment when the
// process starts, so the test starts another process.
func TestGoldenInAnotherLocale(t *testing.T) {
	test := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGolden$")
	test.Env = append(os.Environ(), "LANG=zh_CN.UTF-8", "LC_ALL=zh_CN.UTF-8",
		"LC_CTYPE=zh_CN.UTF-8", "RUNEWIDTH_EASTASIAN=1", "TERM_PROGRAM=", "WT_SESSION=")
	if out, err := test.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The report does not print the 88.8 s of the invalid trials, or words that have another meaning in
// reports.
func TestTextKeepsItsWord(t *testing.T) {
	out := reporttest.Printed(t, Text, reporttest.FinishedRun())
	if strings.Contains(out, "88.8") || strings.Contains(out, "888") {
		t.Error("an invalid trial's response time shows")
	}
	for _, want := range []string{
		"≤ 3/40",                 // none lost in 40 restarts
		"8/10",                   // valid trials of all trials
		"needs CAP_BPF",          // why a variant was skipped
		"residual is 1, not 0",   // why a trial is invalid
		"0 ± 500",                // the gap's resolution
		"need ≥ 6 trials for a",  // why there is no interval
		"cut off by the trial's", // a censored gap
		"< 0.001",                // a very small p
		"1.00 [1.00, 1.00] =",    // a ratio of 1, with a narrow interval
		"0 in 6: too few",        // 6 restarts
		"1.00 ?",                 // a ratio without an interval
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Corrupt or empty runs are printed without a panic.
func TestEveryFormatOfLittle(t *testing.T) {
	for name, run := range reporttest.LittleRuns() {
		for format, p := range map[string]printer{
			"text": Text, "markdown": Markdown, "html": HTML, "json": JSON, "github": GitHub,
			"annotations": Annotations, "ledger": Ledger, "losses": Losses, "claims": Claims,
		} {
			t.Run(name+" "+format, func(t *testing.T) {
				if out := reporttest.Printed(t, p, run); out == "" && run.Scenarios != nil {
					t.Error("printed nothing")
				}
			})
		}
	}
}

func TestOptionsScenarios(t *testing.T) {
	var out bytes.Buffer
	if err := Text(&out, reporttest.FinishedRun(),
		Options{Scenarios: []string{"steady"}}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "rolling-restart\n───") ||
		!strings.Contains(out.String(), "steady\n───") {
		t.Errorf("want steady alone:\n%s", out.String())
	}
	for format, p := range map[string]printer{"text": Text, "markdown": Markdown, "html": HTML,
		"json": JSON, "github": GitHub, "annotations": Annotations, "ledger": Ledger,
		"losses": Losses} {
		err := p(io.Discard, reporttest.FinishedRun(), Options{Scenarios: []string{"burst"}})
		const want = `"burst" is not in this run; it has rolling-restart, steady`
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

// Every format returns a write error.
func TestWriteErrors(t *testing.T) {
	for format, p := range map[string]printer{
		"text": Text, "markdown": Markdown, "html": HTML, "json": JSON, "github": GitHub,
		"annotations": Annotations, "ledger": Ledger, "losses": Losses, "claims": Claims,
	} {
		whole := len(reporttest.Printed(t, p, reporttest.FinishedRun()))
		for _, room := range []int{0, 1, whole / 2, whole - 1} {
			w := reporttest.Failing(room)
			if err := p(&w, reporttest.FinishedRun(), Options{}); err == nil {
				t.Errorf("%s: no error although only %d of %d bytes were written", format, room,
					whole)
			}
		}
	}
}

// Text from a file is escaped, so that it does not become markup.
func TestMarkupIsEscaped(t *testing.T) {
	run := reporttest.FinishedRun()
	run.Scenarios[0].About = "<script>alert(1)</script> a|b *c* `d`"
	run.Scenarios[0].Variants[0].Labels = reporttest.Labels("stop", "a|b\nc<script>")
	page := reporttest.Printed(t, HTML, run)
	if strings.Contains(page, "<script") {
		t.Error("html: <script> came through")
	}
	for _, outside := range []string{"http://", "https://", "src=", "@import"} {
		if strings.Contains(page, outside) {
			t.Errorf("html: not self-contained: %s", outside)
		}
	}
	text := reporttest.Printed(t, Markdown, run)
	if strings.Contains(text, "<script") || !strings.Contains(text, `a\|b<br>c&lt;script>`) ||
		!strings.Contains(text, "\\*c\\* \\`d\\`") {
		t.Errorf("markdown:\n%s", text)
	}
}

func TestJSONSelects(t *testing.T) {
	var out bytes.Buffer
	if err := JSON(&out, reporttest.FinishedRun(),
		Options{Scenarios: []string{"steady"}}); err != nil {
		t.Fatal(err)
	}
	var run results.Run
	if err := json.Unmarshal(out.Bytes(), &run); err != nil {
		t.Fatal(err)
	}
	if len(run.Scenarios) != 1 || run.Scenarios[0].Name != "steady" {
		t.Errorf("got %d scenarios", len(run.Scenarios))
	}
}

// The table has the number of workers that could listen, and of those that got connections: "2 of
// 3".
func TestSharingTable(t *testing.T) {
	trial := &results.Trial{Valid: true, Attempts: 40, Served: 40, ControlPlane: "embedded",
		Workers: []results.Worker{
			{ID: 0, Accepted: 30}, {ID: 1, Accepted: 10}, {ID: 2, BindError: "EADDRINUSE"},
		}}
	run := &results.Run{SchemaVersion: results.SchemaVersion, Scenarios: []*results.Scenario{{
		Name: "same-node-sharing", MinValid: 1, Trials: 1,
		Variants: []*results.Variant{{Trials: []*results.Trial{trial}}},
	}}}
	summary.FillRun(run)
	out := reporttest.Printed(t, Text, run)
	_, table, _ := strings.Cut(out, "Which workers got the connections")
	for _, want := range []string{"listening", "got connections", "largest share", "smallest share",
		"2 of 3", "0.750"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "Behind a Service") {
		t.Errorf("a table of steps, of which there were none:\n%s", out)
	}
}

// If new workers could not bind their address, no worker was replaced. Such a step does not count
// as a restart without loss.
func TestTakenAddress(t *testing.T) {
	trial := &results.Trial{Valid: true, Attempts: 40, Served: 40, Workers: []results.Worker{
		{ID: 0, Accepted: 40}, {ID: 1, Generation: 1, BindError: "EADDRINUSE"},
	}, Steps: []results.Step{{Do: vocabulary.StepReplace, BindError: "EADDRINUSE"}}}
	run := &results.Run{SchemaVersion: results.SchemaVersion, Scenarios: []*results.Scenario{{
		Name: "other-user", MinValid: 1, Trials: 1,
		Variants: []*results.Variant{{Trials: []*results.Trial{trial}}},
	}}}
	summary.FillRun(run)
	out := reporttest.Printed(t, Text, run)
	for _, want := range []string{"In 1 of 1 step", "1 of 2"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "Restarts") {
		t.Errorf("a table of restarts, of which there were none:\n%s", out)
	}
}

// If clients retry, a table shows what retries hid and cost. It also has the variants whose clients
// did not retry.
func TestRetryTable(t *testing.T) {
	const head = "Clients that try again"
	run := reporttest.FinishedRun()
	if text := reporttest.Printed(t, Text, run); strings.Contains(text, head) {
		t.Errorf("nobody tried again, and yet:\n%s", text)
	}
	for _, trial := range run.Scenarios[0].Variants[0].Trials {
		trial.Retries = &results.Retries{Tries: trial.Attempts * 5 / 4, TriedAgain: 9, Masked: 8,
			Repeated: 3, RepeatedUnhandled: new(int64(2)),
			MaskedNS: &results.Percentiles{P50: 137e6, P99: 857e6}}
	}
	first := run.Scenarios[0].Variants[0].Trials[0].Retries
	first.Failed, first.Exhausted = map[string]int64{"unanswered": 4, "refused": 5}, 3
	summary.FillRun(run)
	text := reporttest.Printed(t, Markdown, run)
	_, table, _ := strings.Cut(text, head)
	table, _, _ = strings.Cut(table, "\n#")
	for _, want := range []string{"tries/attempt", "masked/attempt", "more/attempt",
		"masked p50 [ms]", "| 1.25 [", " 137 ["} {
		if !strings.Contains(table, want) {
			t.Errorf("lacks %q:\n%s", want, table)
		}
	}
	if rows := strings.Count(table, " · "); rows < 2 {
		t.Errorf("the others are not beside it:\n%s", table)
	}
	ledger := reporttest.Printed(t, Ledger, run)
	for _, want := range []string{"72 attempts tried again, of which 64 were served, and 24 read " +
		"more than once (8 given", "5 refused, 4 unanswered.", "3 for the number of tries"} {
		if !strings.Contains(strings.Join(strings.Fields(ledger), " "), want) {
			t.Errorf("ledger lacks %q:\n%.3000s", want, ledger)
		}
	}
	run.Scenarios[0].Variants[0].Trials[0].Losses[0].Tries = 4
	if losses := reporttest.Printed(t, Losses, run); strings.Count(losses, "(try 4)") != 1 {
		t.Errorf("losses lack the try:\n%.2000s", losses)
	}
}

// Every format for people calls a closed loop a closed loop. It does not print figures that need a
// schedule, and in particular no 0 for them.
func TestClosedLoopIsLabelled(t *testing.T) {
	run := reporttest.LoopsRun()
	run.Scenarios = run.Scenarios[:1]
	for name, print := range map[string]printer{
		"text": Text, "Markdown": Markdown, "HTML": HTML, "GitHub": GitHub,
	} {
		text := reporttest.Printed(t, print, run)
		for _, want := range []string{"CLOSED LOOP", "omission", "67", "dropped/restart"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		for _, unknown := range []string{"offered [1/s]", "lag p99", "gap ±", "drop window ["} {
			if strings.Contains(text, unknown) {
				t.Errorf("%s has %q in\n%s", name, unknown, text)
			}
		}
	}
	for name, print := range map[string]printer{"ledger": Ledger, "losses": Losses} {
		text := reporttest.Printed(t, print, run)
		if !strings.Contains(text, "closed loop of 67 clients") {
			t.Errorf("%s: no closed loop in\n%s", name, text)
		}
	}
}

// If variants differ in a lag, the report describes how the outage depends on the lag.
func TestSlopeLine(t *testing.T) {
	scenario := &results.Scenario{Name: "endpoint-lag", MinValid: 1, Trials: 2}
	for lag, ms := range map[string]int64{"0s": 0, "100ms": 100, "1s": 1000} {
		v := &results.Variant{Labels: map[string]string{"kube.endpoint_lag": lag}}
		for extra := range int64(2) {
			v.Trials = append(v.Trials, &results.Trial{Valid: true, Attempts: 10, Served: 10,
				ControlPlane: "embedded", Steps: []results.Step{
					{Do: "delete-pod", Endpoints: 2, OutageNS: new((2*ms + 3 + 2*extra) * 1e6)},
				}})
		}
		scenario.Variants = append(scenario.Variants, v)
	}
	run := &results.Run{SchemaVersion: results.SchemaVersion,
		Scenarios: []*results.Scenario{scenario}}
	summary.FillRun(run)
	out := reporttest.Printed(t, Text, run)
	// Computed by hand: six points 1 ms off the line, s² = 1.5 ms², Σ(x-x̄)² = 1.2133 s², t =
	// 2.776.
	want := "Outage over kube.endpoint_lag: 2 ± 0.0031 s for each second, 4ms where there is " +
		"none (6 trials, least squares, 95 %)."
	if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
		t.Errorf("no such line in\n%s", out)
	}
}

// Attempts that the load never sent have a column of their own, and do not influence the order of
// variants.
func TestNeverSentIsApart(t *testing.T) {
	rows := func(run *results.Run, heading string) (head string, rows []string) {
		_, table, found := strings.Cut(reporttest.Printed(t, Markdown, run), "### "+heading+"\n")
		if !found {
			t.Fatalf("no table %q", heading)
		}
		table, _, _ = strings.Cut(strings.TrimSpace(table), "\n\n")
		lines := strings.Split(table, "\n")
		return strings.ReplaceAll(lines[0], "<br>", " "), lines[2:]
	}
	run := reporttest.FinishedRun()
	const byLoss, byCause = "Restarts, by loss", "Lost by cause"
	head, before := rows(run, byLoss)
	if strings.Contains(head, "never sent") {
		t.Errorf("all was sent, and yet: %s", head)
	}
	for _, v := range run.Scenarios[0].Variants {
		if v.Labels["stop"] == "drain" {
			reporttest.NeverSend(v.Trials[0], 40) // more than the other variant loses
			reporttest.NeverSend(v.Trials[1], 50)
		}
	}
	summary.FillRun(run)
	head, after := rows(run, byLoss)
	if !strings.Contains(head, "never sent") {
		t.Errorf("no column for what was never sent: %s", head)
	}
	want := map[string]string{"drain": "90", "close": "0", "handoff": "0", "bpf-migrate": missing}
	for i := range after {
		cells, was := strings.Split(after[i], "|"), strings.Split(before[i], "|")
		isColumn := func(head string) bool { return strings.TrimSpace(head) == "never sent" }
		column := slices.IndexFunc(strings.Split(head, "|"), isColumn)
		_, stop, _ := strings.Cut(strings.TrimSpace(cells[1]), " · ")
		if got := strings.TrimSpace(cells[column]); got != want[stop] {
			t.Errorf("%s: %q never sent, want %q", stop, got, want[stop])
		}
		cells = slices.Delete(cells, column, column+1)
		for k := range cells {
			if strings.TrimSpace(cells[k]) != strings.TrimSpace(was[k]) {
				t.Errorf("row %d was %q, is %q", i, before[i], after[i])
				break
			}
		}
	}
	head, after = rows(run, byCause)
	if !strings.Contains(head, "| client | of these never sent |") {
		t.Errorf("causes: %s\n%s", head, strings.Join(after, "\n"))
	}
}

// The ledger has sentences about responses, summed over the trials that recorded these facts.
func TestAnswerLines(t *testing.T) {
	old := &results.Trial{Lost: 9}
	if lines := answerLines([]*results.Trial{old}); len(lines) > 0 {
		t.Errorf("of an older run: %q", lines)
	}
	lines := answerLines([]*results.Trial{
		old,
		{Lost: 4, Retriable: new(int64(1)), ErrorAnswers: map[string]int64{"502": 1, "503": 2}},
		{Lost: 2, Retriable: new(int64(0)), ErrorAnswers: map[string]int64{"503": 2},
			Unverified: 5},
	})
	want := []string{
		"Answered by an error: 1 × 502, 4 × 503.",
		"Of 6 lost attempts, 1 was on a kept connection",
		"Of the served attempts, 5 were answered by a body that the end",
	}
	for i, start := range want {
		if len(lines) != len(want) || !strings.HasPrefix(lines[i], start) {
			t.Fatalf("got %q, want sentences that begin %q", lines, want)
		}
	}
}

package results

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reuseport-bench/results/cause"
	"reuseport-bench/results/jsonfile"
)

// encoded returns v as the JSON text that the program writes to files.
func encoded(t *testing.T, v any) string {
	t.Helper()
	var text strings.Builder
	if err := jsonfile.Encode(&text, v); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// Append and Load refuse a trial that contradicts itself: this program did not write it.
func TestContradictions(t *testing.T) {
	whole := func() *Trial {
		trial := restartTrial(2, 1)
		trial.LostByPhase = map[string]int64{"wait": 3}
		trial.Ledger = []LedgerRow{
			{Client: "served", Attempts: 997},
			{Client: "wait: reset", Attempts: 3},
		}
		trial.Losses = []Loss{{Step: new(1)}}
		h := NewHistogram()
		for range 997 {
			h.Record(1000)
		}
		trial.Histogram = h.Encode()
		trial.Windows = &Windows{
			EdgesNS: []int64{0, 5, 12}, Served: []int64{900, 97},
			ResponseNS: WindowTimes{P50: Times{1, -1}, P99: Times{1, -1}, Max: Times{1, -1}},
			Lost:       Counts{"reset_at_close": {1: 3}},
			Queues:     []QueueSeries{{First: 1, Longest: []int64{2}}},
			Machine:    &MachineWindows{EdgesNS: []int64{0, 9}, StealNS: []int64{4}},
		}
		trial.AroundStops = NewAroundStops()
		trial.AroundStops.Stops = 2
		trial.AroundStops.Add("reset_at_close", -time.Millisecond)
		trial.AroundStops.Add("reset_at_close", time.Second)
		return trial
	}
	if wrong := whole().contradiction() + whole().histogramContradiction(); wrong != "" {
		t.Fatalf("a consistent trial: %s", wrong)
	}
	moved := whole()
	moved.Kernel = map[string]int64{"TcpCurrEstab": -3}
	moved.SYNRetransmits, moved.Series = new(int64(-1)), &Series{FromNS: -5, Overflows: []int64{-2}}
	moved.Steps[0].AtNS = -7
	if wrong := moved.contradiction(); wrong != "" {
		t.Errorf("values that may be negative: %s", wrong)
	}
	more := NewHistogram()
	for range 1001 {
		more.Record(1000)
	}
	for name, test := range map[string]struct {
		change func(*Trial)
		want   string
	}{
		"a negative block": {func(t *Trial) { t.Block = -7 }, "block is negative"},
		"a block too many": {
			func(t *Trial) { t.Block = 1000 }, "block is 1000; the largest is 999",
		},
		"a negative order": {func(t *Trial) { t.Order = -1 }, "order is negative"},
		"negative losses": {
			func(t *Trial) { t.Steps[1].Lost = -1 }, "steps[1].lost is negative",
		},
		"a negative cause": {
			func(t *Trial) { t.LostByCause[cause.Refused] = -1 },
			`lost_by_cause["refused"] is negative`,
		},
		"attempts": {
			func(t *Trial) { t.Attempts++ }, "1001 attempts, of which 997 were served and 3 lost",
		},
		"dropped": {
			func(t *Trial) { t.Dropped = 4 }, "4 of 3 lost attempts were dropped",
		},
		"retriable": {
			func(t *Trial) { t.Retriable = new(int64(4)) }, "4 of 3 lost attempts were retriable",
		},
		"background": {
			func(t *Trial) { t.Background = new(int64(4)) },
			"4 of 3 dropped attempts were lost in the background",
		},
		"unverified": {
			func(t *Trial) { t.Unverified = 998 }, "998 of 997 served attempts were unverified",
		},
		"error answers": {
			func(t *Trial) { t.ErrorAnswers = map[string]int64{"503": 2} },
			"0 attempts were lost by error_answer, but the statuses add up to 2",
		},
		"causes": {
			func(t *Trial) { t.LostByCause[cause.Refused] = 1 },
			"3 attempts were lost, but the causes add up to 4",
		},
		"an unknown cause": {
			func(t *Trial) { t.LostByCause["a\x1b"] = 0 }, `unknown cause "a\x1b"`,
		},
		"phases": {
			func(t *Trial) { t.LostByPhase["wait"] = 2 },
			"3 attempts were lost, but the phases add up to 2",
		},
		"the ledger": {
			func(t *Trial) { t.Ledger[0].Attempts = 1 }, "1000 attempts, but the ledger has 4",
		},
		"a step's losses": {
			func(t *Trial) { t.Steps[0].Lost = 4 },
			"steps[0] lost more than the trial's 3 lost attempts",
		},
		"a step's drops": {
			func(t *Trial) { t.Steps[0].Dropped = new(int64(3)) },
			"steps[0] lost more than the trial's 3 lost attempts",
		},
		"a missing step": {
			func(t *Trial) { t.Losses[0].Step = new(2) },
			"losses[0] names step 2, but there are 2 steps",
		},
		"more losses than attempts": {
			func(t *Trial) { t.Losses = make([]Loss, 1001) },
			"1001 losses are listed, but only 1000 attempts were made",
		},
		"windows of different lengths": {
			func(t *Trial) { t.Windows.ResponseNS.P99 = Times{1} },
			"windows has lists of different lengths",
		},
		"a window after the last": {
			func(t *Trial) { t.Windows.Lost["reset_at_close"] = map[int]int64{2: 1} },
			"windows has lists of different lengths",
		},
		"a queue after the last window": {
			func(t *Trial) { t.Windows.Queues[0].First = 2 },
			"windows has lists of different lengths",
		},
		"a window before the first": {
			func(t *Trial) { t.Windows.Lost["reset_at_close"] = map[int]int64{-1: 1} },
			"windows.lost has a negative window",
		},
		"windows out of order": {
			func(t *Trial) { t.Windows.EdgesNS[0], t.Windows.EdgesNS[1] = 9, 1 },
			"windows has edges that are not in order",
		},
		"windows of a machine without edges": {
			func(t *Trial) { t.Windows.Machine.EdgesNS = nil },
			"windows has lists of different lengths",
		},
		"windows of more losses": {
			func(t *Trial) { t.Windows.Lost.Add("refused", 0, 1) },
			"windows counts more attempts than there were",
		},
		"windows of more responses": {
			func(t *Trial) { t.Windows.Served[0] = 998 },
			"windows counts more attempts than there were",
		},
		"a negative bin count": {
			func(t *Trial) { t.AroundStops.Lost["reset_at_close"][-1] = -1 },
			`around_stops.lost["reset_at_close"]["-1"] is negative`,
		},
		"a bin out of range": {
			func(t *Trial) { t.AroundStops.Lost.Add("reset_at_close", 50, 1) },
			"around_stops has a bin outside of its range",
		},
		"bins without length": {
			func(t *Trial) { t.AroundStops.BinNS = 0 }, "around_stops has bins without length",
		},
		"more stops than steps": {
			func(t *Trial) { t.AroundStops.Stops = 3 },
			"around_stops counts more stops than there were steps",
		},
		"more losses around stops": {
			func(t *Trial) { t.AroundStops.Before["refused"] = 2 },
			"around_stops counts more losses than there were",
		},
		"a histogram of more": {
			func(t *Trial) { t.Histogram = more.Encode() },
			"the histogram counts 1001 attempts, but there were 1000",
		},
		"another histogram": {
			func(t *Trial) { t.Histogram = "HISTFAAAACR42pJpmSzMwMDAxQABzFAaRjMZ" },
			"the histogram was not made by this program",
		},
		"a histogram of a text": {
			func(t *Trial) { t.Histogram = "text" },
			"the histogram was not made by this program",
		},
	} {
		t.Run(name, func(t *testing.T) {
			trial := whole()
			test.change(trial)
			s := create(t)
			err := s.Append("rolling-restart", closeLabels, trial)
			if !strings.Contains(name, "histogram") { // Append does not check histograms
				wantError(t, err, `trial of "rolling-restart", "sockets=reuseport stop=close": `+
					test.want, "please report it")
			}
			// Write the trial as older programs did, without checksums.
			old := encoded(t, line{Scenario: "rolling-restart", Labels: closeLabels, Trial: trial})
			if err := os.WriteFile(s.path(), []byte(old+"\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err = Load(s.Dir())
			wantError(t, err, TrialsFile+":1: scenarios[0].variants[0].trials[0]: "+test.want+
				"; the file was not written by this program")
		})
	}
}

// Load refuses a duplicate trial, variant or scenario, which would count twice.
func TestDuplicates(t *testing.T) {
	valid, invalid, repeated := restartTrial(1), restartTrial(2), inBlock(1, restartTrial(3))
	invalid.Valid = false
	repeated.Block = 0
	for name, test := range map[string]struct {
		trials []*Trial
		want   string // "": no duplicate
	}{
		"a repeat of an invalid trial": {[]*Trial{invalid, repeated}, ""},
		"the same line":                {[]*Trial{invalid, invalid}, "trials.jsonl:2: "},
		"another trial of its block":   {[]*Trial{valid, repeated}, "trials.jsonl:2: "},
	} {
		s := create(t)
		for _, trial := range test.trials {
			if err := s.Append("rolling-restart", closeLabels, trial); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Load(s.Dir())
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantError(t, err, test.want, `block 1 of "rolling-restart", `+
			`"sockets=reuseport stop=close" appears twice; remove one of them`)
	}
	refusedScenarios(t, map[string]string{
		`{"name":"a"},` + "\n" + `{"name":"a"}`: `:2: scenarios[1]: scenario "a" appears twice`,
		`{"variants":[{"labels":{"a":"b"}},` + "\n" + `{"labels":{"a":"b"}}]}`: ":2: " +
			`scenarios[0].variants[1]: variant "a=b" appears twice`,
		`{"variants":[{"labels":{"arm":"again"}},` + "\n" +
			`{"labels":{"arm":"control"}}]}`: ":2: " +
			`scenarios[0].variants[1]: variant "arm=control" appears twice`,
	})
}

// refusedScenarios checks that runs with these scenarios are refused with the right errors.
func refusedScenarios(t *testing.T, errors map[string]string) {
	t.Helper()
	for scenarios, want := range errors {
		file := filepath.Join(t.TempDir(), RunFile)
		content := `{"schema_version":1,"scenarios":[` + scenarios + `]}`
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		wantError(t, err, file+want)
	}
}

// Load refuses a run that exceeds the limits.
func TestTooMany(t *testing.T) {
	list := func(n int, format string) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, format+",\n", i)
		}
		return strings.TrimSuffix(text.String(), ",\n")
	}
	variants := list(maxVariants, `{"labels":{"a":"%d"}}`)
	refusedScenarios(t, map[string]string{
		list(maxScenarios+1, `{"name":"%d"}`): ":1: scenarios: 1001 of them, and a run has at most",
		`{"variants":[` + list(maxVariants+1, `{"labels":{"a":"%d"}}`) + "]}": ":1: " +
			"scenarios[0]: 1001 variants, and a scenario has at most 1000",
		`{"variants":[{"labels":{` + list(maxLabels+1, `"%d":""`) + "}}]}": ":1: " +
			"scenarios[0].variants[0]: 1001 labels, and a variant has at most 1000",
		list(maxInAll/maxVariants+1, `{"name":"%d","variants":[`+variants+"]}"): ":10001: " +
			"scenarios[10].variants[0]: more than 10000 variants in all",
		`{"name":"a"},` + "\n" + `{"name":"b","trials":1001}`: ":2: scenarios[1]: 1001 trials, " +
			"and a scenario has at most 1000",
		`{"name":"a","aa":[null]}`: ":1: scenarios[0]: aa has a null",
	})
}

// Every run in the repository can be read, whatever version wrote it.
func TestKeptRuns(t *testing.T) {
	seen := 0
	for _, pattern := range []string{"baseline/*/run.json.gz", "baseline/*/*/run.json.gz"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			seen++
			if _, err := Load(file); err != nil {
				t.Error(err)
			}
		}
	}
	if seen < 20 {
		t.Errorf("found %d runs", seen)
	}
}

// A checksum that does not match is an error, in a finished run and in a line of an unfinished run.
// Content without a checksum is accepted.
func TestChecksums(t *testing.T) {
	finished := create(t)
	run := newRun()
	run.FinishedAt = new(startedAt())
	run.Scenarios[0].Variants[0].Trials = []*Trial{restartTrial(1)}
	if err := finished.Finish(run); err != nil {
		t.Fatal(err)
	}
	unfinished := create(t)
	appendTrial(t, unfinished, closeLabels, restartTrial(1))
	for file, where := range map[string]string{
		filepath.Join(finished.Dir(), RunFile):      ":2: the checksum does not match the content",
		filepath.Join(unfinished.Dir(), RunFile):    ":2: the checksum does not match the content",
		filepath.Join(unfinished.Dir(), TrialsFile): ":1: the checksum does not match the line",
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		edit := func(from, to string) error {
			t.Helper()
			edited := strings.Replace(string(content), from, to, 1)
			if edited == string(content) {
				t.Fatalf("%s has no %s", file, from)
			}
			if err := os.WriteFile(file, []byte(edited), 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := Load(filepath.Dir(file))
			return err
		}
		wantError(t, edit(`reuseport`, `reusepart`), file+where, "sha256:", "copy")
		sum := content[strings.Index(string(content), `"checksum"`):]
		sum = sum[:strings.IndexByte(string(sum), ',')+1]
		if err := edit(string(sum), ""); err != nil {
			t.Errorf("%s without its checksum: %v", file, err)
		}
		wantError(t, edit(string(sum), `"checksum":"",`), file+where)
		if err := os.WriteFile(file, content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// Causes are never renamed, because every run.json contains their names.
func TestCausesStay(t *testing.T) {
	for _, name := range []string{
		"reset_at_close", "reset_half_open", "accept_overflow", "syn_timeout", "refused",
		"closed_by_worker", "worker_crash", "no_route", "no_endpoint", "untranslated",
		"stale_endpoint", "early_endpoint", "stale_conntrack", "stale_connection", "proxy_error",
		"queued_unaccepted", "timeout", "client", "unknown",
	} {
		if !slices.Contains(cause.Names(), name) {
			t.Errorf("runs of older programs have the cause %s", name)
		}
	}
}

package ledger

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"reuseport-bench/results"
)

// recorded returns a small judged trial and its recording.
func recorded(t *testing.T) (*Account, *Recording) {
	t.Helper()
	b := testBook(t, 4, func(l *Load) { l.Tries = 2 })
	b.Keep()
	enter(b, 0, account{class: results.ClassReset, phase: results.PhaseWait, done: 2})
	enter(b, 1, served)
	b.Sample(&results.Sample{
		Sequence: 2, Scheduled: int64(begin), Sent: int64(begin), LastSent: int64(begin),
		Done:  int64(begin) + int64(ms),
		Class: results.ClassRefused, Phase: results.PhaseConnect, Worker: -1, Generation: -1,
		Failed: []results.FailedTry{{Failure: results.FailureRefused, Opened: true}},
		GaveUp: results.GaveUpExhausted,
	})
	reset := Event{Kind: ResetSent, Reason: "tcp_state", Worker: 7}
	f := kernelSays(reset, Closing{OwnsQueue: true})
	f.Steps = []Step{step(0, "replace")}
	f.Routes = routed(gonePod, -9*ms, -1*ms, 9*ms, false).Routes
	a := b.Close(f)
	r := a.Recording()
	r.Header.Scenario, r.Trial = "test", &results.Trial{Attempts: 4}
	return a, r
}

// A recording that was written to a file and read again gives the same verdicts and figures.
func TestRecording(t *testing.T) {
	a, r := recorded(t)
	var file bytes.Buffer
	if err := r.Write(&file); err != nil {
		t.Fatal(err)
	}
	read := &Recording{}
	if line, err := read.decode(&file); err != nil {
		t.Fatalf("line %d: %v", line, err)
	}
	again, err := read.Judge()
	if err != nil {
		t.Fatal(err)
	}
	if len(read.Verdicts) == 0 {
		t.Error("the recording has no verdicts")
	}
	if diff := cmp.Diff(again.Verdicts(), read.Verdicts); diff != "" {
		t.Errorf("judged again: got -, recorded +:\n%s", diff)
	}
	var got, want results.Trial
	again.Fill(&got)
	a.Fill(&want)
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("figures: got -, want +:\n%s", diff)
	}
	if got := testBook(t, 1).Close(&Facts{Duration: 1}).Recording(); got != nil {
		t.Error("there is a recording although Keep was not called")
	}
}

// An unreadable recording is refused. The error names the file and the line, and gives a hint.
func TestReadRecording(t *testing.T) {
	_, r := recorded(t)
	var whole bytes.Buffer
	if err := r.Write(&whole); err != nil {
		t.Fatal(err)
	}
	replaced := func(from, to string) []byte {
		in, err := gzip.NewReader(bytes.NewReader(whole.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		packed := gzip.NewWriter(&out)
		_, err = packed.Write(bytes.Replace(text, []byte(from), []byte(to), 1))
		if err = errors.Join(err, packed.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for name, test := range map[string]struct {
		file []byte
		want string // a part of the error; "": no error
	}{
		"whole": {whole.Bytes(), ""},
		"another version": {
			replaced(`"version":2`, `"version":3`),
			"facts.jsonl.gz:1: the recording has version 3, this program reads version 2; " +
				"record it again with 'run --keep-facts'",
		},
		"another format": {
			replaced(recordingFormat, "a scenario"), "not a recording of a trial",
		},
		"an unknown field": {
			replaced(`"sample"`, `"simple"`), `:4: unknown field "simple"; record it again`,
		},
		"a wrong type": {
			replaced(`"n":0`, `"n":"0"`),
			":4: sample.n: expected a whole number, 0 or more, found a string; record it again",
		},
		"an empty line": {
			replaced(`{"sample":`, "{}\n"+`{"sample":`),
			":4: the line has no fields; record it again",
		},
		"cut off": {
			whole.Bytes()[:whole.Len()-40], "the compressed file is cut off; record it again",
		},
		"broken": {
			append(bytes.Clone(whole.Bytes()[:100]), '?'), "the compressed file is ",
		},
		"not compressed": {[]byte("{}\n"), ":1: not a recording of a trial"},
		"empty":          {nil, ":1: not a recording of a trial"},
		"not JSON":       {[]byte("Facts\n"), ":1: not JSON: "},
		"endless lines": {
			replaced(`{"sample":`,
				strings.Repeat(`{"record":{}}`+"\n", minLines+1000)+`{"sample":`),
			": more lines than the attempts of its load can have",
		},
		"endless values": {
			replaced(`{"sample":`, `{"facts":{"steps":[{}`+strings.Repeat(",{}", 4<<20)+`]}}`+"\n"+
				`{"sample":`),
			":4: too many values",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "facts.jsonl.gz")
			if err := os.WriteFile(path, test.file, 0o666); err != nil {
				t.Fatal(err)
			}
			_, err := ReadRecording(path)
			switch {
			case err == nil && test.want != "":
				t.Errorf("no error, want %q", test.want)
			case err == nil:
			case test.want == "" || !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want %q", err, test.want)
			case !strings.Contains(err.Error(), path):
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

func FuzzReadRecording(f *testing.F) {
	f.Add([]byte("{}"))
	f.Add([]byte(`{"load":{"shape":{"rate":1000,"duration_ns":4000000},"processes":1,"tries":1,"sources":"127.64.0.0/10"}}
{"facts":{"duration_ns":4000000,"steps":[{"do":"replace","at":1000000}]}}
{"sample":{"n":0,"scheduled":0,"sent":1,"done":2,"worker":3,"generation":1}}
{"record":{"w":3,"at":1,"conn":0,"kind":1,"peer":"127.64.0.1:10000"}}
{"trial":{}}
`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var file bytes.Buffer
		packed := gzip.NewWriter(&file)
		header := []byte(`{"format":"` + recordingFormat + `","version":2}` + "\n")
		_, err := packed.Write(append(header, data...))
		if err = errors.Join(err, packed.Close()); err != nil {
			t.Fatal(err)
		}
		r := &Recording{}
		if _, err := r.decode(&file); err != nil ||
			r.Load.Shape.Rate*r.Load.Shape.Duration.Seconds() > 1e5 {
			return // judging a trial of that size takes long
		}
		if a, err := r.Judge(); err == nil {
			a.Fill(&results.Trial{})
			for k := range r.Facts.Steps {
				a.Step(k)
			}
		}
	})
}

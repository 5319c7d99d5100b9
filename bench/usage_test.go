package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// jargon lists words from the Go language and its libraries that no message should contain.
var jargon = []string{
	"strconv", "unmarshal", "EOF", "in the group", "arg(s)", "goroutine", "invalid syntax",
	"invalid argument", "shorthand", "unknown flag", "unknown command", "parsing", "<nil>", "%!",
}

// After a user's mistake, the program exits with status 2 and a line that says where the mistake
// is, what is wrong, and what to do.
func TestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	p := newProgram(t)
	run, err := filepath.Abs("run.json")
	if err != nil {
		t.Fatal(err)
	}
	write(t, run, `{
  "schema_version": 1, "program": "reuseport-bench", "version": "1", "seed": 1,
  "started_at": "2026-03-04T05:06:07Z", "finished_at": "2026-03-04T05:06:17Z",
  "environment": {"kernel": "6.18.44"}, "claims": null, "warnings": null,
  "scenarios": [{"name": "my-restart", "min_valid": 1, "trials": 1,
    "variants": [{"labels": {"stop": "close"}, "trials": []}]}]
}`)
	replace := strings.NewReplacer(
		"''", "", "RUN", run, "LONG", strings.Repeat("x", 100_000), "ESCAPE", "\x1b[31m\n",
	)
	for _, test := range []struct {
		args string
		want string // the parts of the error message, separated by " | "
	}{
		{"frob", `"frob" | there are: | run | 'reuseport-bench help'`},
		{"frob --x", `no command "frob"`},
		{"lis", `"lis" | did you mean "list"?`},
		{"help nope", `"nope" | 'reuseport-bench help'`},
		{"help run nope", `run | "nope"`},
		{"completion nope", `"nope" | bash`},
		{"completion bash x", `"x" | takes no arguments`},
		{"--nonsense", `"--nonsense" | --version`},
		{"--=x", `"--=x" | --NAME=VALUE`},
		{"---", `"---"`},
		{"--version=x", `--version "x" | true or false`},

		{"run --nonsense", `"--nonsense" | there are: --budget | 'reuseport-bench run --help'`},
		{"run --trial 5", `"--trial" | did you mean "--trials"?`},
		{"run -x", `"-x" | --budget`},
		{"run --restart HUP", `--restart goes with --server`},
		{"run --server x steady", `leave out "steady"`},
		{"run --server x --resume y", `--resume and --server`},
		{"run --server x --restart HUPP", `--restart HUPP is not a signal`},
		{"run --server x --ready health", `--ready "health" | begins with /`},
		{"run --server x --path ?a", `--path "?a" | begins with /`},
		{"run --server x --rate fast", `--rate "fast" | for example 400/s`},
		{"run --server x --rate 0", `--rate "0" | from 1 to`},
		{"run --server x --connections 0", `--connections "0" | from 1 to 10000`},
		{"run --server x --connections old", `--connections "old" | must be new`},
		{"run --connections 9", `--connections goes with --server`},
		{"run --server x --every 0s", `--every 0s: must be more than 0`},
		{"run --out", `--out: needs a value`},
		{"run --out ''", `--out "" | leave the flag out`},
		{"run --resume ''", `--resume "" | leave the flag out`},
		{"run --trials ''", `--trials "" | leave the flag out`},
		{"run --only ''", `--only "" | leave the flag out`},
		{"run --only a=b --only ''", `--only "" | leave the flag out`},
		{"run ''", `empty | variable of the shell`},
		{"run --seed -1", `--seed "-1" | whole number from 0`},
		{"run --seed 99999999999999999999", `--seed "99999999999999999999" | whole number from 0`},
		{"run --quick=maybe", `--quick "maybe" | true or false`},
		{"run --budget x", `--budget "x" | for example 5m`},
		{"run --budget 5m", `--budget | --trials auto`},
		{"run --trials auto --budget 0s", `--budget 0s | more than 0`},
		{"run --trials auto --quick", `--quick | --trials auto | use --budget`},
		{"run --trials 0", `--trials "0" | at least 1 | auto`},
		{"run --trials 1001", `--trials "1001" | at most 1000`},
		{"run --trials many", `--trials "many" | or auto`},
		{"run --resume X --seed 4", `--resume and --seed | its own seed`},
		{"run --resume X --quick", `--resume and --quick | its own number of blocks`},
		{"run --resume X --out Y", `--out and --resume | its own directory`},
		{"run --json --dry-run", `--json and --dry-run | the plan is text`},
		{"run stedy", `"stedy" | did you mean "steady"?`},
		{"run steady steady", `"steady" | name it once`},
		{"run steady --only foo=bar", `--only "foo=bar" | the label "foo" | there are: sockets`},
		{"run steady --only socket=shared", `--only "socket=shared" | did you mean "sockets"?`},
		{"run steady --only sockets=share", `--only "sockets=share" | did you mean "shared"?`},
		{"run steady --only sockets=x", `--only "sockets=x" | there are: reuseport, shared`},
		{"run steady --only sockets", `--only "sockets" | KEY=VALUE | stop=close | name`},
		{"run restart --only shared --only drain", `--only | all of | leave one out`},
		{"run steady --only a=b --only a=c", `--only | "a" | twice`},
		{
			"run restart-matrix --only stop=drain --only sockets=shared",
			`--only | all of | leave one out`,
		},
		{"run node-down --only a=b", `--only "a=b"`},
		{"run steady --only LONG=x", `--only "xxx | (100002 bytes) | there are: sockets`},
		{"run steady --only ESCAPE=x", `--only "\x1b[31m\n=x" | there are: sockets`},
		{"run --trials LONG", `--trials "xxx | (100000 bytes) | or auto`},
		{"run --seed LONG", `--seed "xxx | (100000 bytes) | whole number`},

		{"init --work 2", `--work "2" | for example 2ms`},

		{"list foo", `"foo" | takes no arguments | 'reuseport-bench list --help'`},
		{"list --names=x", `--names "x" | true or false`},
		{"show", `show needs one scenario`},
		{"show steady roll", `"roll" | takes one scenario`},
		{"schema x", `"x" | takes no arguments`},
		{"report X", `X | reuseport-bench run`},
		{"report a b", `"b" | takes one run`},
		{"report ''", `empty | variable of the shell`},
		{"report RUN --format x", `--format "x" | there are: annotations, attempts`},
		{"report RUN --format markdwn", `--format "markdwn" | did you mean "markdown"?`},
		{"report RUN --format markdown --ledger", `--ledger and --format`},
		{"report RUN --ledger --losses", `--ledger and --losses`},
		{"report RUN --scenario x", `--scenario "x" | there are: my-restart`},
		{"report RUN --scenario my-restat", `--scenario "my-restat" | did you mean "my-restart"?`},
		{"report RUN --scenario ''", `--scenario "" | leave the flag out`},
		{"report RUN --trial x", `--trial | --format attempts`},
		{"claims X", `X | reuseport-bench run`},
		{"claims a b", `"b" | takes one run`},
		{"compare", `two runs, BASE and HEAD`},
		{"compare a", `two runs, BASE and HEAD`},
		{"compare a b c", `"c" | two runs, BASE and HEAD`},
		{"compare RUN RUN --format x", `--format "x" | there are: annotations`},
		{"compare RUN RUN --metric x", `--metric "x" | there are: | more`},
		{"compare RUN RUN --metric gap_n", `--metric "gap_n" | did you mean "gap_ns"?`},
		{"compare RUN RUN --threshold x", `--threshold "x" | METRIC=VALUE`},
		{"compare RUN RUN --threshold x=1", `--threshold "x" | there are:`},
		{"compare RUN RUN --threshold gap_ns=x", `--threshold "gap_ns=x" | for example 2ms`},
		{"compare RUN RUN --allow x", `--allow "x" | there are: kernel`},
		{"compare RUN RUN --only stop=clos", `--only "stop=clos" | did you mean "close"?`},
		{"compare RUN RUN --scenario x", `--scenario "x" | there are: my-restart`},
		{"doctor x", `"x" | takes no arguments`},
		{"doctor --trials 5", `--trials | --measure`},
		{"bench-engine --seconds x", `--seconds "x" | a whole number`},
		{"bench-engine --seconds 0", `--seconds 0 | at least 1`},
		{"bench-engine --generator wr", `--generator "wr" | did you mean "wrk"?`},
		{"bench-engine --connections ''", `--connections "" | leave the flag out`},
	} {
		args := strings.Fields(test.args)
		for i, arg := range args {
			args[i] = replace.Replace(arg)
		}
		c := p.command(t.Context(), args...)
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		_ = c.Run()
		for _, problem := range saysWhat(stderr.String(), strings.Split(test.want, " | ")) {
			t.Errorf("%s: %s:\n%s", test.args, problem, stderr.String())
		}
		if status := c.ProcessState.ExitCode(); status != exitUsage || stdout.Len() > 0 {
			t.Errorf("%s: exit status %d, want %d; it prints %q",
				test.args, status, exitUsage, stdout.String())
		}
	}
}

// saysWhat lists the faults of an error message, such as missing parts.
func saysWhat(message string, parts []string) (problems []string) {
	ours := strings.HasPrefix(message, "reuseport-bench: ")
	if !ours || strings.Count(message, "\n") != 1 || len(message) > 1500 {
		problems = append(problems, "it is not one line")
	}
	for _, part := range parts {
		if !strings.Contains(message, part) {
			problems = append(problems, fmt.Sprintf("it does not say %q", part))
		}
	}
	for _, word := range jargon {
		if strings.Contains(message, word) {
			problems = append(problems, fmt.Sprintf("it says %q", word))
		}
	}
	if strings.ContainsFunc(strings.TrimSpace(message), unicode.IsControl) {
		problems = append(problems, "it holds control characters")
	}
	return problems
}

// A mistake that is made many times does not hide other mistakes.
func TestManyProblems(t *testing.T) {
	var names []string
	for i := range 3000 {
		names = append(names, fmt.Sprintf("none-%d", i))
	}
	_, err := (&runFlags{}).plan(names, nil)
	if err == nil {
		t.Fatal("taken")
	}
	lines := strings.Split(err.Error(), "\n")
	first, last := lines[0], lines[len(lines)-1]
	if len(lines) != maxListed+1 || !strings.Contains(first, "none-0") || last != "and 2980 more" {
		t.Errorf("%d lines, from %q to %q", len(lines), first, last)
	}
}

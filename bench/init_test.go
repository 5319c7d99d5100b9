package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reuseport-bench/scenarios"
)

// Without a terminal, init asks nothing. For questions that no flag answers it uses the defaults.
func TestInit(t *testing.T) {
	p := newProgram(t)
	file := filepath.Join(p.dir, "Our API.yaml")
	c := p.command(t.Context(), "init", file, "--kind", "event-loop", "--rate", "250",
		"--restart", "handoff")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	s, err := scenarios.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	const baseline = "sockets=shared stop=handoff"
	if s.Name != "our-api" || s.Workers != 2 || s.Load.Rate.PerSecond != 250 ||
		s.Baseline.String() != baseline {
		t.Errorf("name %s, %d workers, %v, baseline %s; want our-api, 2, 250/s, %s",
			s.Name, s.Workers, s.Load.Rate, s.Baseline, baseline)
	}
	for _, want := range []string{"wrote", "2 workers", "takes about", "run '" + file + "'"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in %q", want, stderr.String())
		}
	}
}

// An existing file is either left alone or replaced completely.
func TestInitReplaces(t *testing.T) {
	p := newProgram(t)
	file := filepath.Join(p.dir, "mine.yaml")
	write(t, file, "mine")
	refused := p.command(t.Context(), "init", file)
	out, _ := refused.CombinedOutput()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if refused.ProcessState.ExitCode() != exitUsage || string(text) != "mine" ||
		!strings.Contains(string(out), "--force") {
		t.Errorf("without --force: %v, the file is %q\n%s", refused.ProcessState, text, out)
	}
	if out, err := p.command(t.Context(), "init", file, "--force").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := scenarios.Load(file); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// On a terminal init repeats a question until the answer is valid, or skips it if a flag answers.
func TestInitAsks(t *testing.T) {
	p := newProgram(t)
	file := filepath.Join(p.dir, "asked.yaml")
	terminal := newPseudoterminal(t, 100)
	answers := "evnt-loop\nevent-loop\nsystemd\n1000/s\n1ms\n"
	if _, err := io.WriteString(terminal.master, answers); err != nil {
		t.Fatal(err)
	}
	c := p.command(t.Context(), "init", file, "--workers", "4")
	var stderr bytes.Buffer
	c.Stdin, c.Stderr = terminal.slave, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	s, err := scenarios.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	said := stderr.String()
	for _, want := range []string{
		"What is your program?", "event-loop    an event loop", "kind [go]: ",
		`"evnt-loop": did you mean "event-loop"?`, "restart [reuseport]: ", "rate [400/s]: ",
		"work [2ms]: ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(said, "workers [") {
		t.Error("it asks what a flag has answered")
	}
	if s.Workers != 4 || s.Load.Rate.PerSecond != 1000 || s.Server.Work.Sleep != 1e6 {
		t.Errorf("%d workers, %v, %v", s.Workers, s.Load.Rate, s.Server.Work.Sleep)
	}
	t.Log(said)
}

package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"reuseport-bench/servers/child"
	"reuseport-bench/servers/clock"
	"reuseport-bench/servers/sys"
)

// Main runs a load process: it reads the configuration from the control pipe, sends the load and
// writes the samples.
func Main() error {
	// Few objects live long, and the schedule is disturbed less if collections are rarer.
	debug.SetGCPercent(200)
	lines := bufio.NewReader(os.NewFile(child.ControlFD, "control"))
	var cfg Config
	if err := readLine(lines, &cfg); err != nil {
		return fmt.Errorf("load: configuration: %w", err)
	}
	if err := run(cfg, lines, os.NewFile(child.EventsFD, "samples")); err != nil {
		return fmt.Errorf("load %d: %w", cfg.Process, err)
	}
	return nil
}

// fillLimit is the maximum time for opening the connections that are kept from the start. It leaves
// time to repeat a SYN once or twice. It is less than readyLimit.
const fillLimit = 8 * time.Second

// run prepares the attack, reports ready and starts the attack when its parent says so.
func run(cfg Config, lines *bufio.Reader, out *os.File) error {
	clk, err := clock.New()
	if err != nil {
		return err
	}
	if cfg.Lookup != nil {
		runtime.GOMAXPROCS(2) // the loop keeps one P; lookups run on the other one
	}
	t, err := newTransport(cfg, clk, out)
	if err != nil {
		return err
	}
	if err := t.fill(fillLimit); err != nil {
		return errors.Join(err, t.close())
	}
	_ = sys.ReleaseProgram() // this only saves memory, so an error is ignored
	runtime.GC()
	if _, err := out.Write([]byte{'r'}); err != nil {
		return errors.Join(fmt.Errorf("ready: %w", err), t.close())
	}
	var s start
	if err := readLine(lines, &s); err != nil {
		return errors.Join(fmt.Errorf("start: %w", err), t.close())
	}
	before := sys.ProcessCPU()
	err = t.attack(s.At)
	t.samples.end.DriveCPU = sys.ProcessCPU() - before
	t.samples.end.Identities = t.identities()
	return errors.Join(err, t.samples.write(), t.close())
}

func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// attack sends the attempts of the schedule and returns when the last one has ended.
func (t *transport) attack(begin clock.Instant) error {
	t.begins = begin
	a := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: t}),
		// Only one goroutine uses the transport at a time, and it does not wait for answers.
		vegeta.Workers(1), vegeta.MaxWorkers(1),
	)
	target := vegeta.Target{Method: http.MethodGet, URL: "http://" + t.host}
	targeter := vegeta.NewStaticTargeter(target)
	p := newPacer(t)
	for range a.Attack(targeter, p, 0, "") {
		// The attempt itself adds the sample: it knows more than vegeta's attacker.
	}
	if p.err != nil {
		return p.err
	}
	return t.awaitAttempts()
}

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

// Main is a load process, from its configuration on the control pipe to its last sample.
func Main() error {
	// Little lives long here; collecting less often disturbs the schedule less.
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

// fillLimit bounds how long it takes to open the connections that are kept from the start: time for
// a SYN or two to be repeated, and less than readyLimit.
const fillLimit = 8 * time.Second

// run prepares all that the attack needs, and then waits to be told when it begins.
func run(cfg Config, lines *bufio.Reader, out *os.File) error {
	clk, err := clock.New()
	if err != nil {
		return err
	}
	if cfg.Lookup != nil {
		runtime.GOMAXPROCS(2) // questions are asked beside the loop, which keeps one P
	}
	t, err := newTransport(cfg, clk, out)
	if err != nil {
		return err
	}
	if err := t.fill(fillLimit); err != nil {
		return errors.Join(err, t.close())
	}
	_ = sys.ReleaseProgram() // without, it has more resident, and sends as well
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
	return errors.Join(err, t.samples.write(), t.close())
}

func readLine(r *bufio.Reader, v any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

// attack sends what the schedule calls for and returns when the last attempt has ended.
func (t *transport) attack(begin clock.Instant) error {
	t.begins = begin
	a := vegeta.NewAttacker(
		vegeta.Client(&http.Client{Transport: t}),
		// One goroutine has the transport at a time, and it does not wait for answers.
		vegeta.Workers(1), vegeta.MaxWorkers(1),
	)
	targeter := vegeta.NewStaticTargeter(vegeta.Target{Method: http.MethodGet, URL: "http://" + t.host})
	p := newPacer(t)
	for range a.Attack(targeter, p, 0, "") {
		// The attempt knows more than the attacker, and adds the sample.
	}
	if p.err != nil {
		return p.err
	}
	return t.settle()
}

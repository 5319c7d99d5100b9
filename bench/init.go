package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"reuseport-bench/bench/internal/plan"
	"reuseport-bench/bench/internal/starter"
	"reuseport-bench/results/command"
	"reuseport-bench/results/report/document"
	"reuseport-bench/results/unit"
	"reuseport-bench/scenarios"
)

// starterFile is the file that init writes if no other is named.
const starterFile = "my-service.yaml"

type initFlags struct {
	answers starter.Answers
	rate    string
	force   bool
}

func newInit(s *session) *cobra.Command {
	f := initFlags{answers: starter.Defaults()}
	a := &f.answers
	c := &cobra.Command{
		Use:   "init [FILE.yaml]",
		Short: "Write a first scenario of your own, from four answers",
		Long: `Init writes a scenario for a program like yours, with comments, which runs as it is. It asks what
your program is, how many workers it has, how you restart it today, and how many requests come and
how long one takes. Flags answer in advance. It asks only on a terminal; elsewhere what no flag says
has its default.

FILE.yaml is ` + starterFile + ` unless you name another; "-" is standard output. A file that exists
is replaced only with --force.`,
		Example: `  reuseport-bench init
  reuseport-bench init api.yaml --kind go --workers 4 --restart systemd --rate 1000/s --work 5ms`,
		Args: takes(0, 1, "one file"),
		RunE: func(c *cobra.Command, args []string) error {
			file := starterFile
			if len(args) > 0 {
				file = args[0]
			}
			return f.init(c, s, file)
		},
	}
	c.Flags().StringVar(&a.Program, "kind", a.Program,
		"what your program is: "+strings.Join(programNames(), ", "))
	c.Flags().IntVar(&a.Workers, "workers", a.Workers, "how many processes serve at a time")
	c.Flags().StringVar(&a.Restart, "restart", a.Restart,
		"how you restart it today: "+strings.Join(restartNames(), ", "))
	c.Flags().StringVar(&f.rate, "rate", perSecond(a.Rate), "new connections a second")
	c.Flags().DurationVar(&a.Work, "work", a.Work, "how long a request takes")
	c.Flags().BoolVar(&f.force, "force", false, "replace the file if it exists")
	completeFlag(c, "kind", always(programNames))
	completeFlag(c, "restart", always(restartNames))
	c.ValidArgsFunction = cobra.FixedCompletions(
		[]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
	return c
}

func programNames() (names []string) {
	for _, p := range starter.Programs() {
		names = append(names, p.Name)
	}
	return names
}

func restartNames() (names []string) {
	for _, r := range starter.Restarts() {
		names = append(names, r.Name)
	}
	return names
}

func perSecond(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) + "/s" }

// init asks the questions that no flag answers, and writes the scenario.
func (f *initFlags) init(c *cobra.Command, s *session, file string) error {
	toStdout := file == "-"
	if ext := filepath.Ext(file); !toStdout && ext != ".yaml" && ext != ".yml" {
		return usagef(c, "%s: a scenario's file has a name that ends in .yaml", quoted(file))
	}
	if _, err := os.Lstat(file); err == nil && !f.force && !toStdout {
		return usagef(c, "%s exists; name another file, or replace it with --force", quoted(file))
	}
	for _, q := range f.questions() {
		if c.Flags().Changed(q.flag) {
			if err := q.take(c.Flags().Lookup(q.flag).Value.String()); err != nil {
				return usagef(c, "--%s %s: %v", q.flag,
					quoted(c.Flags().Lookup(q.flag).Value.String()), err)
			}
		}
	}
	if in, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		if err := f.ask(c, s.width, bufio.NewReader(in)); err != nil {
			return err
		}
	}
	text, err := f.answers.Scenario(scenarioName(file))
	if err != nil {
		return usagef(c, "%v", err)
	}
	if toStdout {
		_, err := io.WriteString(c.OutOrStdout(), text)
		return err
	}
	if err := f.write(file, text); err != nil {
		return usage(err)
	}
	return f.sayWritten(c.ErrOrStderr(), file, text)
}

// scenarioName returns the scenario's name, which it derives from the name of its file.
func scenarioName(file string) string {
	name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	name = strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).
		ReplaceAllString(strings.ToLower(name), "-"), "-")
	return cmp.Or(strings.Trim(name[:min(len(name), 64)], "-"), "my-service")
}

// write writes the file. It leaves an existing file alone unless --force is given.
func (f *initFlags) write(file, text string) error {
	if f.force {
		return replaceFile(file, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return fmt.Errorf("%s: %w; name another file", quoted(file), err)
	}
	_, err = io.WriteString(out, text)
	return errors.Join(err, out.Close())
}

// sayWritten prints how long the scenario takes and how to run it.
func (f *initFlags) sayWritten(w io.Writer, file, text string) error {
	s, err := scenarios.Parse(file, []byte(text))
	if err != nil {
		return err
	}
	machine, err := thisMachine(nil)
	if err != nil {
		return err
	}
	p, err := plan.New([]*scenarios.Scenario{s}, 1, machine, plan.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "wrote %s: kind %s, %s, restart %s, %s, %v of work; takes about %v\n",
		command.Quote(file), f.answers.Program, unit.Plural(f.answers.Workers, "worker"),
		f.answers.Restart, perSecond(f.answers.Rate), f.answers.Work,
		p.Duration().Round(time.Second))
	path := file
	if !strings.Contains(file, "/") {
		path = command.Path(file)
	}
	_, err = fmt.Fprintf(w, "to run it: %s\n", command.Line("run", path))
	return err
}

// A question asks for one field of starter.Answers.
type question struct {
	flag    string // the flag that answers the question instead
	asks    string
	choices []document.Definition // nil means any text
	usual   string                // the default answer
	take    func(answer string) error
}

func (f *initFlags) questions() []question {
	a, usual := &f.answers, starter.Defaults()
	var programs, restarts []document.Definition
	for _, p := range starter.Programs() {
		programs = append(programs, document.Definition{Word: p.Name, Text: p.Is})
	}
	for _, r := range starter.Restarts() {
		restarts = append(restarts, document.Definition{Word: r.Name, Text: r.Is})
	}
	oneOf := func(into *string, names []string) func(string) error {
		return func(answer string) error {
			if !slices.Contains(names, answer) {
				return errors.New(instead(answer, names))
			}
			*into = answer
			return nil
		}
	}
	return []question{
		{"kind", "What is your program?", programs, usual.Program,
			oneOf(&a.Program, programNames())},
		{"workers", "How many processes (workers) serve at a time?", nil,
			strconv.Itoa(usual.Workers), func(answer string) error {
				n, err := strconv.Atoi(answer)
				if err != nil || n < 1 || n > starter.MaxWorkers {
					return fmt.Errorf("must be a whole number from 1 to %d", starter.MaxWorkers)
				}
				a.Workers = n
				return nil
			}},
		{"restart", "How do you restart it today?", restarts, usual.Restart,
			oneOf(&a.Restart, restartNames())},
		{"rate", "How many new connections come in a second?", nil, perSecond(usual.Rate),
			func(answer string) error {
				rate, err := strconv.ParseFloat(strings.TrimSuffix(answer, "/s"), 64)
				if err != nil || !(rate >= 1 && rate <= starter.MaxRate) {
					return fmt.Errorf("must be a number from 1 to %d, for example 400/s",
						starter.MaxRate)
				}
				a.Rate = rate
				return nil
			}},
		{"work", "How long does a request take, without waiting?", nil, usual.Work.String(),
			func(answer string) error {
				work, err := time.ParseDuration(answer)
				if err != nil || work <= 0 || work > starter.MaxWork {
					return fmt.Errorf("must be a duration up to %v, for example 2ms",
						starter.MaxWork)
				}
				a.Work = work
				return nil
			}},
	}
}

// ask asks, on standard error, each question that no flag has answered. It repeats a question until
// the answer is valid.
func (f *initFlags) ask(c *cobra.Command, width int, in *bufio.Reader) error {
	w := c.ErrOrStderr()
	for _, q := range f.questions() {
		if c.Flags().Changed(q.flag) {
			continue
		}
		fmt.Fprintln(w, q.asks)
		if err := document.WriteDefinitions(w, width, q.choices); err != nil {
			return err
		}
		for {
			fmt.Fprintf(w, "%s [%s]: ", q.flag, q.usual)
			line, err := in.ReadString('\n')
			if err != nil {
				return usagef(c, "no answer to %q; answer, or use --%s", q.asks, q.flag)
			}
			answer := cmp.Or(strings.TrimSpace(line), q.usual)
			if err = q.take(answer); err == nil {
				break
			}
			fmt.Fprintf(w, "%s: %v\n", quoted(answer), err)
		}
		fmt.Fprintln(w)
	}
	return nil
}

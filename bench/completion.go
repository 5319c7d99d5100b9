package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/harness"
	"reuseport-bench/bench/internal/reference"
	"reuseport-bench/results"
	"reuseport-bench/results/stored"
	"reuseport-bench/scenarios"
)

// A completer returns the words that may follow the given arguments.
type completer func(c *cobra.Command, args []string) []string

// always returns a completer that ignores the arguments and calls the function of.
func always(of func() []string) completer {
	return func(*cobra.Command, []string) []string { return of() }
}

// completeFlag completes the values of a flag. It does not offer file names.
func completeFlag(c *cobra.Command, flag string, of completer) {
	complete := func(c *cobra.Command, args []string, begun string) (
		[]string, cobra.ShellCompDirective,
	) {
		return beginning(of(c, args), begun), cobra.ShellCompDirectiveNoFileComp
	}
	if err := c.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // there is no such flag: a bug
	}
}

// beginning returns the words that start with begun. In each element of all, the word may be
// followed by a tab and the word's meaning.
func beginning(all []string, begun string) []string {
	return slices.DeleteFunc(all, func(word string) bool { return !strings.HasPrefix(word, begun) })
}

// completeScenarios completes arguments with scenario names or, if no name matches, with YAML
// files. It completes at most the given number of arguments.
func completeScenarios(c *cobra.Command, most int) {
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) (
		[]string, cobra.ShellCompDirective,
	) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var all []string
		for _, name := range scenarios.Names() {
			if s, err := scenarios.Load(name); err == nil && !slices.Contains(args, name) {
				all = append(all, name+"\t"+s.About)
			}
		}
		if all = beginning(all, begun); len(all) > 0 {
			return all, cobra.ShellCompDirectiveDefault
		}
		return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// completeRuns completes arguments with runs. It offers the directories under runsDir, newest
// first, or any directory if none under runsDir matches. It completes at most the given number of
// arguments.
func completeRuns(c *cobra.Command, most int) {
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) (
		[]string, cobra.ShellCompDirective,
	) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		if all := beginning(runsWith(results.RunFile), begun); len(all) > 0 {
			return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		}
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
}

// completeWords completes arguments with the words that explain knows.
func completeWords(c *cobra.Command) {
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, begun string) (
		[]string, cobra.ShellCompDirective,
	) {
		names := reference.Names(referenceEntries(c.Root()))
		return beginning(names, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// runsWith returns the directories under runsDir that contain the named file. The newest directory
// comes first. Directories are named by their time.
func runsWith(file string) []string {
	files, _ := filepath.Glob(filepath.Join(runsDir, "*", file)) // the pattern is well formed
	slices.Sort(files)
	slices.Reverse(files)
	for i, path := range files {
		files[i] = filepath.Dir(path)
	}
	return files
}

// unfinishedRuns returns the runs that --resume can continue.
func unfinishedRuns() []string { return runsWith(results.TrialsFile) }

// labelsOfScenarios completes --only with the labels of the scenarios that the arguments name.
func labelsOfScenarios(_ *cobra.Command, args []string) []string {
	if len(args) == 0 {
		args = scenarios.Default()
	}
	labels := map[string]bool{}
	for _, name := range args {
		s, err := scenarios.Load(name)
		if err != nil {
			continue
		}
		for _, v := range s.Variants {
			addLabels(labels, v.Labels)
		}
	}
	return slices.Sorted(maps.Keys(labels))
}

// labelsOfRuns completes --only with the labels of the runs that the arguments name.
func labelsOfRuns(_ *cobra.Command, args []string) []string {
	labels := map[string]bool{}
	for _, path := range args {
		for _, run := range runsAt(path) {
			for _, s := range run.Scenarios {
				for _, v := range s.Variants {
					addLabels(labels, v.Labels)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(labels))
}

func addLabels(all map[string]bool, labels map[string]string) {
	for k, v := range labels {
		all[k+"="+v] = true
	}
}

// scenariosOfRuns completes --scenario with the scenarios of the named runs or, if no run is named,
// of the newest run.
func scenariosOfRuns(_ *cobra.Command, args []string) (names []string) {
	if len(args) == 0 {
		if newest, err := results.Latest(runsDir); err == nil {
			args = []string{newest}
		}
	}
	for _, path := range args {
		for _, run := range runsAt(path) {
			names = append(names, scenarioNames(run)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// runsAt returns the runs at a path, or nil if there are none.
func runsAt(path string) []*results.Run {
	all, err := stored.LoadAll(path)
	if err != nil {
		return nil
	}
	return all
}

// trialsOfRun completes --trial with the names of the recordings in the named run or, if no run is
// named, in the newest run.
func trialsOfRun(_ *cobra.Command, args []string) (names []string) {
	dir := ""
	if len(args) > 0 {
		dir = args[0]
	} else if newest, err := results.Latest(runsDir); err == nil {
		dir = newest
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	files, err := harness.FactsFiles(dir)
	if err != nil {
		return nil
	}
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

// isCompletion reports whether c is the hidden command that the shell completion scripts call.
func isCompletion(c *cobra.Command) bool {
	return c.Name() == cobra.ShellCompRequestCmd || c.Name() == cobra.ShellCompNoDescRequestCmd
}

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

// always returns a completer whose words do not depend on the arguments.
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
		panic(err) // the flag does not exist
	}
}

// beginning returns the words that start with begun. A tab separates a word from its meaning.
func beginning(all []string, begun string) []string {
	return slices.DeleteFunc(all, func(word string) bool { return !strings.HasPrefix(word, begun) })
}

// completeScenarios completes up to most scenarios: by name or, if no name matches, by YAML file.
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

// completeRuns completes up to most runs. It offers the directories under runsDir, the newest first
// or, if none matches, any directory.
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

// completeWords completes the words that explain knows.
func completeWords(c *cobra.Command) {
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, begun string) (
		[]string, cobra.ShellCompDirective,
	) {
		names := reference.Names(referenceEntries(c.Root()))
		return beginning(names, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// runsWith returns the directories under runsDir that contain the named file. Directories are named
// by time, and the newest comes first.
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

// labelsOfScenarios completes --only for the scenarios to run.
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

// labelsOfRuns completes --only for the runs to compare.
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

// scenariosOfRuns completes --scenario: those of the named runs or, by default, of the newest.
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

// trialsOfRun completes --trial: the recordings of the named run or, by default, of the newest.
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

// isCompletion reports whether c is the hidden command that the shells' scripts call.
func isCompletion(c *cobra.Command) bool {
	return c.Name() == cobra.ShellCompRequestCmd || c.Name() == cobra.ShellCompNoDescRequestCmd
}

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"reuseport-bench/results"
	"reuseport-bench/results/command"
	"reuseport-bench/results/stored"
)

// loadRun reads the named run or, if none is named, the newest run.
func loadRun(c *cobra.Command, args []string) (*results.Run, error) {
	path, err := runPath(c, args)
	if err != nil {
		return nil, err
	}
	return stored.Load(path)
}

// runPath returns the path of the named run. If none is named, it returns and prints the path of
// the newest run.
func runPath(c *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	newest, err := results.Latest(runsDir)
	if err == nil {
		fmt.Fprintf(c.ErrOrStderr(), "the newest run is %s\n", command.Quote(newest))
	}
	return newest, err
}

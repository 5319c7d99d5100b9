package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"reuseport-bench/results/command"
	"reuseport-bench/results/report/document"
)

// formatsByName maps file name extensions to formats.
var formatsByName = map[string]string{
	".html": "html", ".md": "markdown", ".csv": "csv", ".json": "json", ".xml": "junit",
}

// toFile adds the flag --output to a command that prints a report. With the flag, the report is
// written to a file, atomically and in lines of document.DefaultWidth. If no flag names a format,
// the file's name determines it.
func toFile(s *session, c *cobra.Command) *cobra.Command {
	path, print := "", c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if path == "" {
			return print(c, args)
		}
		format, known := formatsByName[filepath.Ext(path)]
		for _, text := range []string{"full", "ledger", "losses", "rejudge"} {
			if known && c.Flags().Changed(text) {
				return usagef(c, "--%s prints text, and %s is named as %s; leave out --%s, or "+
					"name the file .txt", text, quoted(path), format, text)
			}
		}
		if known && !c.Flags().Changed("format") {
			if err := c.Flags().Set("format", format); err != nil {
				return err
			}
		}
		var verdict error // the error of a command that printed the whole report
		err := replaceFile(path, func(w io.Writer) error {
			s.width, s.terminal = document.DefaultWidth, false
			c.SetOut(w)
			err := print(c, args)
			exit := (*exitError)(nil)
			if errors.As(err, &exit) && (exit.err == nil || exit.status != exitUsage) {
				verdict, err = err, nil
			}
			return err
		})
		if err == nil {
			fmt.Fprintf(c.ErrOrStderr(), "wrote %s\n", command.Quote(path))
		}
		return cmp.Or(err, verdict)
	}
	c.Flags().StringVarP(&path, "output", "o", "",
		"write to this file; .html, .md, .csv, .json and .xml (JUnit) say the format, too")
	return c
}

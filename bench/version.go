package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A build describes the source that the program was built from. Other programs read its JSON form.
type build struct {
	Program string `json:"program"`
	Version string `json:"version"` // the module's version; "(devel)" if built from a working tree
	// Revision is the commit, and Time is the commit's time. Modified reports whether the tree had
	// changes. If the build recorded no commit, these fields are "" and false.
	Revision string `json:"revision"`
	Modified bool   `json:"modified"`
	Time     string `json:"time"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuild() build {
	b := build{
		Program: "reuseport-bench", Version: "unknown",
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Version = cmp.Or(info.Main.Version, b.Version)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

// version returns the commit that the program was built from, or else the module's version. It
// contains no spaces, and runs record it.
func version() string {
	b := readBuild()
	if b.Revision == "" {
		return b.Version
	}
	if b.Modified {
		return b.Revision + "+modified"
	}
	return b.Revision
}

func newVersion() *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the revision and the Go version of this program",
		Args:  takes(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			b := readBuild()
			w := c.OutOrStdout()
			if asJSON {
				return writeJSON(w, b)
			}
			modified := ""
			if b.Modified {
				modified = ", with changes"
			}
			_, err := fmt.Fprintf(w, "%s %s\nrevision %s%s, of %s\n%s, %s\n", b.Program, b.Version,
				cmp.Or(b.Revision, "unknown"), modified, cmp.Or(b.Time, "an unknown time"),
				b.Go, b.Platform)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: results/README.md has its form")
	return c
}

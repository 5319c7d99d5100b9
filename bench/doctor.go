package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"reuseport-bench/bench/internal/kernel"
	"reuseport-bench/results/report"
)

func newDoctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel can and cannot do, by trying",
		Long: `Doctor tries each thing that the program may need, in namespaces of its own, and says what it found: yes,
no, or unknown where trying was not possible. What is missing is a hint, not an error; only a machine on which
no lab can be made at all ends with status 3.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			return diagnose(c.OutOrStdout(), kernel.Probes(c.Context(), probeOptions()))
		},
	}
}

// probeOptions lets the probes use a child in a user namespace.
func probeOptions() kernel.Options {
	return kernel.Options{UserNamespaceChild: []string{"/proc/self/exe", roleProbe}}
}

func diagnose(w io.Writer, found []kernel.Result) error {
	var rows [][]string
	lab := false
	for _, r := range found {
		detail := r.Detail
		if r.Hint != "" && r.Status != kernel.Yes {
			detail += "; " + r.Hint
		}
		rows = append(rows, []string{r.Name, string(r.Status), r.What, detail})
		if r.Status == kernel.Yes && (r.Name == kernel.ProbeNetNamespace || r.Name == kernel.ProbeUserNamespace) {
			lab = true
		}
	}
	if err := report.Words(w, []string{"probe", "works", "for", "found"}, rows); err != nil {
		return err
	}
	if !lab {
		return notMeasured(fmt.Errorf("no lab can be made here: neither root's network namespaces nor user namespaces are allowed"))
	}
	return nil
}

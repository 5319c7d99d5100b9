package main

import (
	"fmt"
	"io"

	"reuseport-bench/scenarios/vocabulary"
)

// sayRenamed prints, for each former scenario name in names, the scenario's current name.
func sayRenamed(w io.Writer, names []string) {
	for _, name := range names {
		if now := vocabulary.ScenarioName(name); now != name {
			fmt.Fprintf(w, "scenario %s is called %s now\n", name, now)
		}
	}
}

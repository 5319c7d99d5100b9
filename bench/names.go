package main

import (
	"fmt"
	"io"

	"reuseport-bench/scenarios/vocabulary"
)

// sayRenamed says which of these scenarios have another name now.
func sayRenamed(w io.Writer, names []string) {
	for _, name := range names {
		if now := vocabulary.ScenarioName(name); now != name {
			fmt.Fprintf(w, "scenario %s is called %s now\n", name, now)
		}
	}
}

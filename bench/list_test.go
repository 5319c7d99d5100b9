package main

import (
	"testing"

	"reuseport-bench/bench/internal/starter"
	"reuseport-bench/servers/testkit"
)

// The documents have the tables of scenarios and programs; -update (make generate) rewrites them.
func TestTables(t *testing.T) {
	table, err := scenariosMarkdown()
	if err != nil {
		t.Fatal(err)
	}
	testkit.Tables(t, testkit.Documents(t, ".."), map[string]string{
		"scenarios": table, "programs": starter.Markdown(),
	})
}

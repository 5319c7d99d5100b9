package main

import (
	"io"
	"testing"

	"reuseport-bench/bench/internal/reference"
	"reuseport-bench/servers/testkit"
)

// The generated documents are those of this program; -update (make generate) rewrites them.
func TestReference(t *testing.T) {
	root := newRoot(&session{}, io.Discard, io.Discard)
	text := reference.Reference(referenceCommands(root), exitStatuses())
	testkit.Golden(t, "../../docs/reference.md", text)
	testkit.Golden(t, "../../docs/glossary.md", reference.Glossary())
}

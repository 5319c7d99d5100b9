package main

import (
	"io"
	"testing"

	"reuseport-bench/bench/internal/reference"
	"reuseport-bench/servers/testkit"
)

// The generated documents match this program; -update (make generate) rewrites the documents.
func TestReference(t *testing.T) {
	root := newRoot(&session{}, io.Discard, io.Discard)
	text := reference.Reference(referenceCommands(root), exitStatuses())
	testkit.Golden(t, "../../docs/reference.md", text)
	testkit.Golden(t, "../../docs/glossary.md", reference.Glossary())
}

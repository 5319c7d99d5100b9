// Package vocabulary holds the words of the scenario language. Each word has a type, a constant for
// each of its values, and one table that says what a value means and what follows from it. Code
// that depends on a value, such as whether a stop mode hands its socket over or whether a step
// starts workers, reads the row.
//
// To add a value, add its constant and its row here. Failing tests then show where to add its
// implementation. A test of this package fails if a value has no row, or if a table belongs to no
// setting.
//
// The package imports nothing of this module, so every other package may import it.
package vocabulary

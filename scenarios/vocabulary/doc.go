// Package vocabulary holds the words of the scenario language: for each word a type, a constant for
// each of its values, and one table that says what a value means and what follows from it. Code
// that depends on a value, such as whether a stop mode hands its socket over or whether a step
// starts workers, reads the row.
//
// To add a value, add its constant and its row here, and its implementation where the tests then
// ask for it. A value without a row, or a table that is no setting, fails a test of this package.
//
// The package imports nothing of this module, so every other package may import it.
package vocabulary

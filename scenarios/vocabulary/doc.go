// Package vocabulary holds the words of the scenario language. Each word has a type, a constant for
// each of its values, and a table with a row for each value. The row has the meaning of the value
// and its properties, such as whether a step starts workers. Code that depends on a property reads
// it from the row.
//
// To add a value, add its constant and its row here. Failing tests then show where its
// implementation is missing. A test of this package fails if a value has no row, or if a table
// belongs to no setting.
//
// The package imports nothing of this module, so every other package may import it.
package vocabulary

// Package table writes aligned columns of text: headings in capitals, numbers
// to the right, and widths measured in terminal cells, so that names in any
// script line up. Nothing is cut off.
//
// The package has no state beyond a Table's rows and starts no goroutines.
package table

// Package lint holds the house rules that no ready-made linter knows, and its
// test applies them to the whole tree: which package may import which (the
// table "Parts" of the architecture: imports point down only), which packages
// nobody imports, how packages are named and documented, how long a file may
// be, and that no note to do something later is left in a comment.
//
// A new package gets its row in [rules] together with its reason to exist.
package lint

// Package invariants checks, in test builds alone, what the code takes for
// granted: under the build tag invariants and under the race detector. In
// other builds its calls compile to nothing.
//
// A condition that costs more than comparing a few words belongs into
//
//	if invariants.Enabled {
//		invariants.Check(log.sorted(), "segments of %s are out of order", dir)
//	}
//
// since Go evaluates the arguments of a call that does nothing.
package invariants

package interop

// expectedDifferences are those that are meant to be, each with its reason.
var expectedDifferences = []expectation{}

// Package proctest runs programs as processes of their own in tests that kill
// them.
//
// The program is the test binary itself, so that go test needs no build of its
// own: TestMain begins with [Main], which runs the program in a process that
// [Start] started, and returns at once in any other.
//
//	func TestMain(m *testing.M) {
//		proctest.Main(main)
//		os.Exit(m.Run())
//	}
//
// Each process has a time after which it ends itself, whatever becomes of the
// test; on Linux it also ends with the process that started it. A Process owns
// two goroutines, one that waits for its end and one of package os/exec that
// reads its output; both end with it.
package proctest

package record_test

import (
	"fmt"

	"github.com/fanfold/fanfold/protocol/record"
)

func ExampleRecords() {
	builder, err := record.NewBuilder(record.Zstd, 0)
	if err != nil {
		panic(err)
	}
	builder.SetBaseOffset(40)
	builder.Append(1_700_000_000_000, []byte("main.go"), []byte("package main"), nil)
	builder.Append(1_700_000_000_005, []byte("main.go"), nil, nil)
	batch, err := builder.Build(nil)
	if err != nil {
		panic(err)
	}

	header, err := record.Validate(batch)
	if err != nil {
		panic(err)
	}
	for r, err := range record.Records(batch, record.Limits{}) {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%d at %d: %s = %q\n", header.RecordOffset(r), header.RecordTimestamp(r), r.Key, r.Value)
	}
	// Output:
	// 40 at 1700000000000: main.go = "package main"
	// 41 at 1700000000005: main.go = ""
}

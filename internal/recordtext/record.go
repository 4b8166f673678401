package recordtext

// A Record is what this package reads and writes. Key, Value and a header's
// value are null where they are nil, and empty where they are not nil but have
// no bytes.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp int64 // milliseconds since 1970, UTC
	Key       []byte
	Value     []byte
	Headers   []Header
}

// A Header is one name and value of a record.
type Header struct {
	Key   string
	Value []byte
}

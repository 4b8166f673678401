package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/fanfold/fanfold/protocol"
)

const (
	// filesPerPartition are the files that a partition keeps open at least:
	// its newest segment, that one's index, its journal and its mark.
	filesPerPartition = 4

	// fileShare is the part of the process's files that partitions may take;
	// the rest is for connections, older segments and the process itself.
	fileShare = 0.75
)

// roomForFiles refuses partitions that would leave the process without file
// descriptors: they would be created and never open, and take those of others.
func (s *Server) roomForFiles(added int) error {
	most := s.cfg.MaxOpenFiles
	if most <= 0 {
		return nil
	}
	have := s.node.Image().NumPartitions()
	if float64((have+added)*filesPerPartition) <= float64(most)*fileShare {
		return nil
	}
	return protocol.Errorf(kerr.PolicyViolation,
		"%d partitions beside the %d that there are would need %d open files, and this process may open %d in all: raise its limit (ulimit -n, or LimitNOFILE of its unit)",
		added, have, (have+added)*filesPerPartition, most)
}

package cluster

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"
)

func imageOf(racks ...string) *Image {
	i := emptyImage()
	for at, rack := range racks {
		n := testNode(int32(at+1), rack)
		i.nodes = append(i.nodes, &n)
	}
	return i
}

func TestPlaceRefusesWhatCannotBe(t *testing.T) {
	_, err := Place(imageOf("", ""), 1, 3)
	wantError(t, err, kerr.InvalidReplicationFactor, "the cluster has 2")
	_, err = Place(imageOf(), 1, 1)
	wantError(t, err, kerr.InvalidReplicationFactor, "the cluster has 0")
	_, err = Place(imageOf(""), 1, 0)
	wantError(t, err, kerr.InvalidReplicationFactor, "not positive")
}

// TestPlaceSpreads checks what Place promises: distinct nodes, leaders and
// replicas even, racks used, and the same answer twice.
func TestPlaceSpreads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perRack := rapid.IntRange(1, 3).Draw(t, "nodes a rack")
		rackCount := rapid.IntRange(1, 4).Draw(t, "racks")
		var racks []string
		for range perRack {
			for r := range rackCount {
				racks = append(racks, fmt.Sprintf("r%d", r))
			}
		}
		i := imageOf(racks...)
		partitions := rapid.IntRange(1, 50).Draw(t, "partitions")
		factor := rapid.IntRange(1, len(racks)).Draw(t, "factor")
		assignment, err := Place(i, partitions, factor)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := Place(i, partitions, factor); !reflect.DeepEqual(assignment, again) {
			t.Fatal("the second answer differs")
		}
		if err := i.assignmentError(assignment); err != nil {
			t.Fatal(err)
		}
		replicas, leaders := make([]int, len(racks)), make([]int, len(racks))
		for _, p := range assignment {
			used := map[string]bool{}
			for at, id := range p {
				replicas[id-1]++
				used[racks[id-1]] = true
				if at == 0 {
					leaders[id-1]++
				}
			}
			if len(used) != min(factor, rackCount) {
				t.Fatalf("%v uses %d racks of %d", p, len(used), rackCount)
			}
		}
		if d := slices.Max(leaders) - slices.Min(leaders); d > 1 {
			t.Fatalf("leaders are %v", leaders)
		}
		if d := slices.Max(replicas) - slices.Min(replicas); d > 2 {
			t.Fatalf("replicas are %v", replicas)
		}
	})
}

// TestPlaceLooksAtWhatIsThere: single partitions, one topic after the other,
// spread as well.
func TestPlaceLooksAtWhatIsThere(t *testing.T) {
	c := newTestCluster(t, 3)
	for n := range 9 {
		spec := topicSpec(fmt.Sprintf("t%d", n))
		spec.Partitions, spec.ReplicationFactor = 1, 2
		c.create(spec)
	}
	for _, n := range c.Image().Nodes() {
		if n.leaders != 3 || n.Replicas() != 6 {
			t.Errorf("node %d leads %d and holds %d", n.ID, n.leaders, n.replicas)
		}
	}
}

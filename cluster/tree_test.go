package cluster

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTreeIsAMap does the same to a tree and a map, and looks at older trees
// again at the end.
func TestTreeIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := newTree[string, int](strings.Compare)
		model := map[string]int{}
		type version struct {
			tr    tree[string, int]
			model map[string]int
		}
		var versions []version
		key := rapid.StringMatching(`[a-e]{1,3}`)
		for step := range rapid.IntRange(0, 200).Draw(t, "steps") {
			k := key.Draw(t, "key")
			if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
				tr = tr.without(k)
				delete(model, k)
			} else {
				tr = tr.with(k, step)
				model[k] = step
			}
			if step%20 == 0 {
				versions = append(versions, version{tr, maps.Clone(model)})
			}
			checkBalance(t, tr.root)
		}
		for _, v := range append(versions, version{tr, model}) {
			checkTree(t, v.tr, v.model, key.Draw(t, "from"))
		}
	})
}

func checkTree(t *rapid.T, tr tree[string, int], model map[string]int, low string) {
	if tr.len() != len(model) || !maps.Equal(maps.Collect(tr.all()), model) {
		t.Fatalf("the tree holds %v, want %v", maps.Collect(tr.all()), model)
	}
	var keys []string
	for k, v := range tr.all() {
		keys = append(keys, k)
		if got, ok := tr.get(k); !ok || got != v {
			t.Fatalf("get %q: %d, %v, want %d", k, got, ok, v)
		}
	}
	if !slices.IsSorted(keys) {
		t.Fatalf("out of order: %v", keys)
	}
	at, _ := slices.BinarySearch(keys, low)
	var from []string
	for k := range tr.from(low) {
		from = append(from, k)
	}
	if !slices.Equal(from, keys[at:]) {
		t.Fatalf("from %q: %v, want %v", low, from, keys[at:])
	}
	for range tr.from(low) {
		break
	}
}

func checkBalance(t *rapid.T, n *treeNode[string, int]) {
	if n == nil {
		return
	}
	l, r := n.left.len(), n.right.len()
	if n.size != l+r+1 || l+1 > treeDelta*(r+1) || r+1 > treeDelta*(l+1) {
		t.Fatalf("a node of %d entries has %d to the left and %d to the right", n.size, l, r)
	}
	checkBalance(t, n.left)
	checkBalance(t, n.right)
}

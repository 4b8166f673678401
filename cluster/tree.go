package cluster

import "iter"

// tree is a persistent sorted map: with and without return a new tree that
// shares all but O(log n) nodes with the old one, which stays as it was. It is
// a weight-balanced tree (Adams; parameters of Hirai and Yamamoto, "Balancing
// weight-balanced trees", 2011).
type tree[K, V any] struct {
	compare func(K, K) int
	root    *treeNode[K, V]
}

type treeNode[K, V any] struct {
	key         K
	value       V
	size        int
	left, right *treeNode[K, V]
}

const (
	treeDelta = 3 // how many times heavier a subtree may be than its sibling
	treeRatio = 2 // from where on a single rotation does not do
)

func newTree[K, V any](compare func(K, K) int) tree[K, V] {
	return tree[K, V]{compare: compare}
}

// treeOf returns the tree of entries in strictly ascending order of key.
func treeOf[K, V any](compare func(K, K) int, entries []*treeNode[K, V]) tree[K, V] {
	return tree[K, V]{compare, buildTree(entries)}
}

func buildTree[K, V any](entries []*treeNode[K, V]) *treeNode[K, V] {
	if len(entries) == 0 {
		return nil
	}
	middle := len(entries) / 2
	return join(entries[middle], buildTree(entries[:middle]), buildTree(entries[middle+1:]))
}

func (t tree[K, V]) len() int { return t.root.len() }

func (n *treeNode[K, V]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (t tree[K, V]) get(key K) (V, bool) {
	for n := t.root; n != nil; {
		switch c := t.compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	var none V
	return none, false
}

func (t tree[K, V]) with(key K, value V) tree[K, V] {
	return tree[K, V]{t.compare, t.insert(t.root, key, value)}
}

func (t tree[K, V]) insert(n *treeNode[K, V], key K, value V) *treeNode[K, V] {
	if n == nil {
		return &treeNode[K, V]{key: key, value: value, size: 1}
	}
	switch c := t.compare(key, n.key); {
	case c < 0:
		return balance(n, t.insert(n.left, key, value), n.right)
	case c > 0:
		return balance(n, n.left, t.insert(n.right, key, value))
	default:
		return &treeNode[K, V]{key, value, n.size, n.left, n.right}
	}
}

func (t tree[K, V]) without(key K) tree[K, V] {
	if _, ok := t.get(key); !ok {
		return t
	}
	return tree[K, V]{t.compare, t.remove(t.root, key)}
}

func (t tree[K, V]) remove(n *treeNode[K, V], key K) *treeNode[K, V] {
	switch c := t.compare(key, n.key); {
	case c < 0:
		return balance(n, t.remove(n.left, key), n.right)
	case c > 0:
		return balance(n, n.left, t.remove(n.right, key))
	case n.left == nil:
		return n.right
	case n.right == nil:
		return n.left
	default:
		next, rest := popFirst(n.right)
		return balance(next, n.left, rest)
	}
}

// popFirst returns the leftmost node and the tree without it.
func popFirst[K, V any](n *treeNode[K, V]) (first, rest *treeNode[K, V]) {
	if n.left == nil {
		return n, n.right
	}
	first, left := popFirst(n.left)
	return first, balance(n, left, n.right)
}

// join makes a node of n's entry over the two subtrees.
func join[K, V any](n, left, right *treeNode[K, V]) *treeNode[K, V] {
	return &treeNode[K, V]{n.key, n.value, left.len() + right.len() + 1, left, right}
}

// balance is join for subtrees of which one may have grown or shrunk by one
// entry since they were in balance.
func balance[K, V any](n, left, right *treeNode[K, V]) *treeNode[K, V] {
	weightL, weightR := left.len()+1, right.len()+1
	switch {
	case weightR > treeDelta*weightL:
		if right.left.len()+1 < treeRatio*(right.right.len()+1) {
			return join(right, join(n, left, right.left), right.right)
		}
		middle := right.left
		return join(middle, join(n, left, middle.left), join(right, middle.right, right.right))
	case weightL > treeDelta*weightR:
		if left.right.len()+1 < treeRatio*(left.left.len()+1) {
			return join(left, left.left, join(n, left.right, right))
		}
		middle := left.right
		return join(middle, join(left, left.left, middle.left), join(n, middle.right, right))
	default:
		return join(n, left, right)
	}
}

// all walks the entries by ascending key.
func (t tree[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.root.walk(yield) }
}

func (n *treeNode[K, V]) walk(yield func(K, V) bool) bool {
	return n == nil || n.left.walk(yield) && yield(n.key, n.value) && n.right.walk(yield)
}

// from walks the entries whose keys are not below low, by ascending key.
func (t tree[K, V]) from(low K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.walkFrom(t.root, low, yield) }
}

func (t tree[K, V]) walkFrom(n *treeNode[K, V], low K, yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	if t.compare(n.key, low) < 0 {
		return t.walkFrom(n.right, low, yield)
	}
	return t.walkFrom(n.left, low, yield) && yield(n.key, n.value) && n.right.walk(yield)
}

//! Which partial sums are merged with which: a binary tree over the leaves of a batch.
//!
//! A leaf is a fixed number of samples, a long sample a fixed number of pieces; what is folded at once, a leaf or a piece of
//! one, is a unit. Node (level, index) covers the slots index·2^level to (index+1)·2^level. It is the sum of its first half
//! and its second one, or the first alone where nothing is in the second. So a prefix of a batch has the nodes of the whole.

use std::ops::Range;

/// The slots of a batch: a leaf owns as many as its pieces need, rounded up to a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    /// The leaves of the batch, the last of which may be a part of one.
    pub(crate) leaves: usize,
    /// The units of a leaf.
    pub(crate) pieces: usize,
}

/// A node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// 0 for a slot.
    pub(crate) level: u32,
    /// Its number among those of its level.
    pub(crate) index: usize,
}

/// What a node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// The sums of a unit: this piece of this leaf.
    Unit { leaf: usize, piece: usize },
    /// Two nodes, merged.
    Both(Node, Node),
}

impl Tree {
    /// The levels below a leaf.
    fn below_leaf(self) -> u32 {
        self.pieces.next_power_of_two().ilog2()
    }

    /// The node that covers all.
    pub(crate) fn root(self) -> Node {
        Node { level: self.levels(), index: 0 }
    }

    /// The levels below the root: as many sets of sums wait to be merged at once.
    pub(crate) fn levels(self) -> u32 {
        self.leaves.next_power_of_two().ilog2() + self.below_leaf()
    }

    /// How many units there are.
    pub(crate) fn units(self) -> usize {
        self.leaves * self.pieces
    }

    /// The leaf and the piece of a slot.
    pub(crate) fn unit(self, slot: usize) -> (usize, usize) {
        let below = self.below_leaf();
        (slot >> below, slot & ((1 << below) - 1))
    }

    /// Whether there is any unit in a node beside whose sibling there is one.
    pub(crate) fn has(self, node: Node) -> bool {
        let (leaf, piece) = self.unit(node.index << node.level);
        leaf < self.leaves && piece < self.pieces
    }

    /// What `node` is made of.
    pub(crate) fn of(self, Node { level, index }: Node) -> Of {
        let (mut level, mut index) = (level, index);
        loop {
            if level == 0 {
                let (leaf, piece) = self.unit(index);
                return Of::Unit { leaf, piece };
            }
            (level, index) = (level - 1, 2 * index);
            let first = Node { level, index };
            if self.has(first.sibling()) {
                return Of::Both(first, first.sibling());
            }
        }
    }
}

impl Node {
    /// The other half of its parent.
    pub(crate) fn sibling(self) -> Self {
        Self { index: self.index ^ 1, ..self }
    }

    /// What it is half of.
    pub(crate) fn parent(self) -> Self {
        Self { level: self.level + 1, index: self.index / 2 }
    }
}

/// The fewest nodes that cover `leaves`, as the leaves of each.
pub(crate) fn covering(leaves: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut start = leaves.start;
    std::iter::from_fn(move || {
        let most = (leaves.end - start).checked_ilog2()?;
        let node = start..start + (1 << start.trailing_zeros().min(most));
        start = node.end;
        Some(node)
    })
}

/// Whether two nodes of leaves are the halves of one.
pub(crate) fn are_siblings(first: &Range<usize>, second: &Range<usize>) -> bool {
    let len = first.len();
    len.is_power_of_two()
        && second.len() == len
        && first.end == second.start
        && first.start.is_multiple_of(2 * len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a node is merged from its units, written down.
    fn written(tree: Tree, node: Node) -> String {
        match tree.of(node) {
            Of::Unit { leaf, piece } => format!("{leaf}.{piece}"),
            Of::Both(first, second) => format!("({}+{})", written(tree, first), written(tree, second)),
        }
    }

    #[test]
    fn nodes_are_merged_with_their_siblings() {
        let all = |leaves, pieces| {
            let tree = Tree { leaves, pieces };
            written(tree, tree.root())
        };
        assert_eq!(all(1, 1), "0.0");
        assert_eq!(all(3, 1), "((0.0+1.0)+2.0)");
        assert_eq!(all(6, 1), "(((0.0+1.0)+(2.0+3.0))+(4.0+5.0))");
        assert_eq!(all(7, 1), "(((0.0+1.0)+(2.0+3.0))+((4.0+5.0)+6.0))");
        assert_eq!(all(1, 3), "((0.0+0.1)+0.2)");
        assert_eq!(all(2, 3), "(((0.0+0.1)+0.2)+((1.0+1.1)+1.2))");
    }

    #[test]
    fn a_prefix_has_the_nodes_of_the_whole() {
        for pieces in [1, 2, 3, 5] {
            let (whole, part) = (Tree { leaves: 40, pieces }, Tree { leaves: 16, pieces });
            let mut node = whole.root();
            while node.level > part.root().level {
                node = Node { level: node.level - 1, index: 0 };
            }
            assert_eq!(written(whole, node), written(part, part.root()));
        }
    }

    #[test]
    fn any_range_of_leaves_is_few_nodes() {
        let nodes = |range| covering(range).collect::<Vec<_>>();
        assert_eq!(nodes(0..41), [0..32, 32..40, 40..41]);
        assert_eq!(nodes(3..17), [3..4, 4..8, 8..16, 16..17]);
        assert_eq!(nodes(5..5), []);
        assert!(are_siblings(&(0..8), &(8..16)) && !are_siblings(&(8..16), &(16..24)));
        assert!(!are_siblings(&(0..2), &(4..6)) && !are_siblings(&(0..2), &(2..3)));
    }
}

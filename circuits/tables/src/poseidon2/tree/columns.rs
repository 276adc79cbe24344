//! An update is four rows that load the leaves, thirty-two that climb the tree, and four that store the root.

use crate::columns::columns;

columns! {
    /// A row of the tree table.
    pub struct TreeColumns {
        /// Does the row load an element of each leaf?
        is_load,
        /// Does it climb one level?
        is_level,
        /// Does it store an element of the root?
        is_store,
        /// Is it the last of its kind in its update?
        is_end,
        /// Which of its kind it is, from 0.
        index,
        /// The clock of the call.
        clock,
        /// Where the words are.
        address,
        /// Load: the leaf's position. Level: its bits from this level upwards.
        position,
        /// Level: is the node a right child?
        is_right,
        /// The node of the old path. Load: the elements of the old leaf so far. Store: what is left of the old root, the next element first.
        old: [4],
        /// The same of the new path.
        new: [4],
        /// Level: the node beside both.
        sibling: [4],
        /// Load: two words of the old leaf, two of the new leaf. Store: two words of the old root, two of the new root.
        words: [4],
    }
}

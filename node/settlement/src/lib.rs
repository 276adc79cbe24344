//! What L1 must see: commit, prove, execute.

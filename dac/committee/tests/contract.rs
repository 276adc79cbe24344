//! The contract `DataCommittee` on an L1 in this process, and this crate, side by side: the same bytes, the same verdicts.

mod suite {
    mod encodings;
    mod gas;
    mod network;
    mod tampering;
}

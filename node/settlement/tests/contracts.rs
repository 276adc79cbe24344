//! Settlement of real batches on the real contracts, on an L1 in this process.

mod suite {
    mod faults;
    mod life;
    mod support;
}

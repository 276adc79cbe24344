//! Reading, following and sending, against the real contracts on an L1 in this process.

mod suite {
    mod following;
    mod history;
    mod sending;
    mod support;
}

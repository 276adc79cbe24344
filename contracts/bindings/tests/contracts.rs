//! The contracts against the protocol, byte for byte, on an L1 in this process.

mod suite {
    mod artefacts;
    mod encodings;
    mod network;
    mod settlement;
    mod support;
}

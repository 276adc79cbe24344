//! `joule-node`, the sequencer and full node.

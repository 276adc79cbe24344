//! Gossip of blocks and transactions, and sync, over libp2p.

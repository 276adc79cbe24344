//! What a node and a committee member keep on disk: RocksDB column families, atomic commits, snapshots.

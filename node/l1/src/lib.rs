//! The node's eyes and hands on L1: watching, sending, reorgs.

//! The sequencer's core: mempool, ordering, sealing, batches. Pure: state and event in, actions out.

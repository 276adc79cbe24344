//! Members as they run: their own disks, HTTP and libp2p on loopback, contracts on an L1 in process.

#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/p2p.rs"]
mod p2p;
#[path = "suite/rejoin.rs"]
mod rejoin;
#[path = "suite/support.rs"]
mod support;
#[path = "suite/watch.rs"]
mod watch;

//! Members as they run: their own disks, HTTP on loopback, contracts on an L1 in process.

#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/rejoin.rs"]
mod rejoin;
#[path = "suite/support.rs"]
mod support;

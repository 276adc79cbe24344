//! A node in a process of its own, and what is left when it is killed.

#[path = "suite/faults.rs"]
mod faults;
#[path = "suite/full.rs"]
mod full;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/kill.rs"]
mod kill;
#[path = "suite/liar.rs"]
mod liar;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/support.rs"]
mod support;
#[path = "suite/world.rs"]
mod world;

//! A node in a process of its own, and what is left when it is killed.

#[path = "suite/kill.rs"]
mod kill;
#[path = "suite/life.rs"]
mod life;
#[path = "suite/support.rs"]
mod support;

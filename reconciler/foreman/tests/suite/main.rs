//! The foreman on simulated hosts, on both databases.

mod claims;
mod crowd;
mod filling;
mod following;
mod kills;
mod observing;
mod own;
mod rebuilding;
mod rig;
mod running;
mod screens;

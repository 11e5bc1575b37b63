//! The reconciler on the simulated hypervisor: killed at every mutation, with every reply lost, against foreign
//! hands, and in races. No real time passes.

#![expect(
    unreachable_pub,
    reason = "in a test program `pub` marks what a module offers to the others"
)]

mod answers;
mod any_machine;
mod any_network;
mod cables;
mod captures;
mod captures_counted;
mod cases;
mod converge;
mod firmware;
mod foreign_disks;
mod hooks;
mod host_images;
mod imports;
mod kills;
mod kills_of_networks;
mod kills_of_updates;
mod lans;
mod leases;
mod lent;
mod moments;
mod neighbours;
mod networks;
mod peers;
mod placement;
mod pools;
mod races;
mod ready;
mod rig;
mod screens;
mod shutdown;
mod wire;

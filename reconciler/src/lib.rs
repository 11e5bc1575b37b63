//! Desired against observed: what is asked for is compared with what runs, and the difference is made good,
//! idempotently. There is no script to resume: every pass observes, diffs and takes the steps that are left.
//!
//! In the order in which a value passes:
//! - [`desired`]: everything decided, from the schema's structs.
//! - [`observe`], [`view`]: one snapshot a host, and an object in the user's terms.
//! - [`diff`]: the changes between the two, each with what it disturbs. Pure.
//! - [`intent`]: what the machine's mark will say before anything is done. Pure.
//! - [`room`], [`live`]: what a running machine takes without a restart, as the last look showed it. Pure.
//! - [`steps`]: the stages, each with what it does and how it is undone; [`run`] goes through them.
//! - [`hooks`]: the operator's word before and after a stage; [`journal`]: what every stage did and took.
//! - [`engine`]: what the provider calls; [`keeper`] keeps leases and confirms what a state has taken.
//!
//! Beside them: [`moment`] (whether a machine can be put back), [`sockets`] (who is connected to a guest), [`guest_config`] (what a guest is told, as NoCloud's documents), [`identity`], [`derived`], [`lease`], [`record`], [`addresses`], [`image_store`], [`wait`], [`want`], [`console`], [`wire`].

pub mod addresses;
pub mod boot_order;
pub mod bystanders;
pub mod capacity;
pub mod console;
pub mod derived;
pub mod desired;
mod desired_drives;
mod desired_nics;
mod desired_seed;
pub mod diff;
pub mod engine;
pub mod error;
pub mod faults;
pub mod firmware_words;
pub mod foreign;
pub mod guest_config;
pub mod guest_probe;
pub mod hooks;
pub mod host;
pub mod identity;
pub mod image;
pub mod image_store;
pub mod intent;
pub mod journal;
pub mod keeper;
pub mod lan;
pub mod lease;
pub mod lease_board;
mod left;
pub mod live;
pub mod moment;
pub mod nvram;
pub mod observe;
pub mod record;
pub mod room;
pub mod run;
pub mod seed;
pub mod sockets;
pub mod steps;
pub mod takeover;
pub mod view;
pub mod wait;
pub mod want;
pub mod wire;

pub use error::EngineError;

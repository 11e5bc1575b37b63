//! A configuration for a guest, sealed, and carried through the key-value pairs (KVP) of Hyper-V: what is said, how it
//! is sealed, and both sides of the exchange as state machines. No I/O, no clock and no randomness of its own, so that
//! the driver and the guest program use the same code on Linux and on Windows.
//!
//! | file | what |
//! |---|---|
//! | `config/` | what a guest is told, as versioned JSON, and what it may not be |
//! | `seal` | HPKE (RFC 9180): a fresh key pair, seal, open |
//! | `identity` | which machine, which session: what a sealed text is bound to |
//! | `message` | the items of the exchange as texts, and their keys |
//! | `chunks` | a sealed text in pieces with a manifest, and back |
//! | `items` | what one side sees of the other |
//! | `host`, `guest` | the two state machines |
//! | `pool` | the files in which a Linux guest has the pairs |
//! | `illegal` | everything that is refused |
//!
//! ```text
//! host                                   guest
//! request {session, nonce, machine}  ->
//!                                    <-  key {session, nonce, attempt, public half}
//! chunk 0 .. chunk n, then manifest  ->
//!                                    <-  ack {digest}, progress {stage, percent}
//! (takes the chunks away)            <-  result {ok | error, message}
//! (takes the request away)           ->  (takes its own items away)
//! ```
//!
//! **What this protects, and what not.** KVP tells neither side who the other is. Sealing keeps passwords from whoever
//! reads the VM bus, WMI, logs and backups; it does not keep them from an administrator of the host, who could answer in
//! the guest's place. A guest that is killed in between makes a new key pair, with the next attempt number, and is sealed
//! to anew; its private keys and the opened configuration are in memory alone.
//!
//! ```
//! use labyard_exchange::{Configuration, Deadlines, Exchange, Guest, Host, Items, VmId};
//! use labyard_exchange::guest::Seen;
//! # use std::time::Duration;
//! # struct Chance(u8);
//! # impl labyard_exchange::rand_core::TryRng for Chance {
//! #     type Error = std::convert::Infallible;
//! #     fn try_next_u32(&mut self) -> Result<u32, Self::Error> { self.0 += 1; Ok(self.0.into()) }
//! #     fn try_next_u64(&mut self) -> Result<u64, Self::Error> { self.0 += 1; Ok(self.0.into()) }
//! #     fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Self::Error> {
//! #         for byte in to { self.0 = self.0.wrapping_add(1); *byte = self.0; }
//! #         Ok(())
//! #     }
//! # }
//! # impl labyard_exchange::rand_core::TryCryptoRng for Chance {}
//! # let mut rng = Chance(0);
//! let vm: VmId = "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A".parse()?;
//! let configuration = Configuration::named("web-01");
//! let now = Duration::ZERO;
//! let (host, asked) = Host::begin(Exchange::draw(vm, &mut rng), &configuration, Deadlines::default(), now)?;
//! // What the host puts is what the guest sees …
//! let (mut in_guest, mut in_host) = (Items::default(), Items::default());
//! in_guest.apply(&asked);
//! let seen = Seen { host: &in_guest, own: &in_host, machine: Some(vm) };
//! let (guest, offered) = Guest::new([]).step(&seen, &mut rng);
//! in_host.apply(&offered);
//! // … and the other way round.
//! let (host, sealed) = host.step(now, &in_host, &mut rng);
//! # let _ = (host, guest, sealed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod chunks;
pub mod config;
pub mod guest;
mod hex;
pub mod host;
mod identity;
mod illegal;
mod items;
pub mod message;
pub mod pool;
pub mod seal;
mod secret;

pub use action::{Action, Item};
pub use config::Configuration;
pub use guest::Guest;
pub use host::{Deadlines, Host};
/// The traits of a source of randomness, as this crate's arguments want them.
pub use hpke::rand_core;
pub use identity::{Exchange, Nonce, NotAnId, Session, VmId};
pub use illegal::Illegal;
pub use items::Items;
pub use message::{Outcome, Progress, Report, Stage};
pub use secret::Secret;

/// The version of the protocol: of every item, and of the configuration's text.
pub const VERSION: u32 = 1;
/// The longest value that goes into a pair, in characters; all of them are ASCII.
pub const VALUE_MAX: usize = 900;
/// The longest name of a pair.
pub const KEY_MAX: usize = 254;
/// The longest sealed text, in bytes.
pub const SEALED_MAX: usize = 64 * 1024;
/// How often a guest may begin anew in one session.
pub const ATTEMPTS_MAX: u32 = 8;
/// What every name of a pair of ours begins with.
pub const PREFIX: &str = "labyard.";

//! Real terraform, real libvirtd in private network namespaces, real guests. What the tests in `tests/` stand on:
//!
//! - [`host::Host`]: a libvirt host of the test's own, and what stands on it ([`inventory`]).
//! - [`terraform::Terraform`]: a working directory, the provider under test, plans and diagnostics as data.
//! - [`observer::Observer`]: the same host seen through libvirt's C library, which others wrote.
//! - [`guest::Guest`]: a running guest, reached over SSH from inside the host's namespace or through its agent.
//! - [`scene::Scene`]: host, observer and Terraform together, as most tests want them.
//! - [`hcl`], for configurations; [`proof`], for what a test has shown of an attribute.
//! - [`whole`]: a stopped machine with everything, and what of it must stand; [`web`]: a server that stalls;
//!   [`boot_server`]: one that firmware boots from; [`backend`]: a remote state; [`receiver`]: the other end of hooks.
//! - [`kept::Kept`]: a store of pools and codes, and what stands in it.
//! - [`simulated::Simulated`]: a simulated host, for what needs many machines and no guests.
//! - [`way::Way`]: hosts and store of the provider's own, or a [`daemon::Daemon`]'s; the same test runs by both.
//! - [`far::Far`]: a host on another machine, by [`sshd::Sshd`] or with certificates of a [`tls::Authority`];
//!   [`relay::Relay`]: a line to it that is slow, silent or cut.
//! - [`assets`]: the tiny guest's files, built once; [`seed`]: seeds and keys made by tools that are not ours.

pub mod assets;
pub mod backend;
mod base64;
pub mod boot_server;
pub mod command;
pub mod daemon;
pub mod error;
pub mod far;
pub mod guest;
pub mod hcl;
pub mod host;
pub mod inventory;
pub mod kept;
pub mod nocloud;
pub mod observer;
pub mod processes;
pub mod proof;
pub mod receiver;
pub mod relay;
pub mod scene;
pub mod seed;
pub mod simulated;
pub mod sshd;
pub mod terraform;
pub mod tls;
pub mod wait;
pub mod way;
pub mod web;
pub mod whole;

pub use error::{HarnessError, Result};
pub use guest::Guest;
pub use host::Host;
pub use observer::Observer;
pub use scene::Scene;
pub use terraform::Terraform;

//! The provider's process from outside: as a gRPC client of our own sees it, and as real Terraform does.
//!
//! Both run the examples `faulty` and `hello`, which `cargo test -p tfplugin` builds along. Terraform (1.11 or
//! newer) is looked for on the PATH. Processes are looked at through /proc, so this is for Linux.
#![cfg(target_os = "linux")]

mod ephemeral;
mod faults;
mod interrupt;
mod lifecycle;
mod process;
mod protocol;
mod support;

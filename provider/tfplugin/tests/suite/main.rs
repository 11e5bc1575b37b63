//! The provider's process from outside: as a gRPC client of our own sees it, and as real Terraform does.
//!
//! Both run the examples `faulty` and `hello`, which `cargo test -p tfplugin` builds along. Terraform (1.11 or
//! newer) is looked for on the PATH.

mod faults;
mod interrupt;
mod process;
mod protocol;
mod support;

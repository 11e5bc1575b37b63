//! Terraform's plugin protocol, version 6, for providers written in Rust.

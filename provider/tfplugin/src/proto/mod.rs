//! The messages and services of the wire, generated from `proto/*.proto` by `proto/generate`.
//!
//! The generated files are committed: who builds a provider needs no protobuf compiler and waits for none.

/// Terraform's own protocol.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod tfplugin6 {
    include!("generated/tfplugin6.rs");
}

/// What go-plugin expects of any plugin.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod goplugin {
    include!("generated/plugin.rs");
}

/// gRPC's health service.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod health {
    include!("generated/grpc.health.v1.rs");
}

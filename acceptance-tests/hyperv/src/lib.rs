//! A Hyper-V host for tests: a server of WS-Management in front of a model of the classes, strict by their schema.
//!
//! | file | what |
//! |---|---|
//! | `cim` | values, instances, paths |
//! | `contract` | what the wire asks of the model |
//! | `schema/` | classes as read off real servers |
//! | `wire/` | WS-Management: HTTP, logins, envelopes, enumerations, WQL, faults on demand |
//! | `model/` | what a host holds and does: machines, devices, jobs, disks, switches |

pub mod cim;
pub mod contract;
pub mod model;
pub mod schema;
pub mod wire;

//! Hyper-V hosts, by their CIM objects over WS-Management: no script runs on the host.
//!
//! | file | what |
//! |---|---|
//! | `classes/` | the classes of Hyper-V that are used, each a struct |
//! | `ids`, `state`, `slots`, `places`, `notes` | names and kinds; what machines do; where devices are; where files are; marks |
//! | `rows` | a host read in bulk |
//! | `reading/` | rows as machines and networks: pure |
//! | `errors`, `job`, `call` | what goes wrong; work that goes on; methods of services |
//! | `disks`, `volumes/` | virtual disks, made by the host; files, filled from here |
//! | `machines/`, `switches` | what is changed |
//! | `host`, `driver` | a host with all of it; the calls of the trait |
//!
//! **Nothing of it has run against Windows**; its tests play against a model of the classes.

pub mod call;
pub mod classes;
pub mod disks;
mod driver;
mod errors;
pub mod host;
pub mod ids;
pub mod job;
pub mod machines;
pub mod notes;
pub mod places;
pub mod reading;
pub mod rows;
pub mod slots;
pub mod state;
pub mod switches;
pub mod volumes;

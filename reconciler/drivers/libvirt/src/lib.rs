//! The libvirt driver: labyard's verbs as calls of libvirt's RPC.
//!
//! - `host` holds the connection and what is read of a host once; `errors` and `explain` turn libvirt's errors into
//!   what a caller must do, and set-up mistakes into commands.
//! - `xml` is a tree that writes unedited parts as it read them; `machine_xml`, `network_xml`, `volume_xml`, `screen_xml`
//!   and `mark_xml` are pure: specification to definition and back.
//! - `snapshot` and `sizes` are the bulk read, `observe` the read of one machine; `machines`, `live`, `attach`, `media`, `networks`,
//!   `reservations`, `screens`, `volumes`, `files`, `upload`, `guest`, `agent`, `moments`, `events` and `probe` are the verbs, by noun.

mod agent;
mod attach;
mod capabilities;
mod config;
mod console;
mod copies;
mod driver;
mod errors;
mod events;
mod explain;
mod files;
mod guest;
mod host;
mod live;
mod machine_xml;
mod machines;
mod mark_xml;
mod media;
mod moments;
mod network_reading;
mod network_xml;
mod networks;
mod observe;
mod places;
mod pools;
mod probe;
mod reservations;
mod screen_xml;
mod screens;
mod sizes;
mod snapshot;
#[cfg(test)]
mod testing;
mod upload;
mod variables;
mod volume_xml;
mod volumes;
mod wires;
mod xml;

pub use config::{AcceleratorChoice, LibvirtConfig};
pub use driver::LibvirtDriver;

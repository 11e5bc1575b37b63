//! The driver against a host of the tests' own, over TLS, with everything between them real.

mod bulk;
mod classes;
mod conformance;
mod machines;
mod rig;
mod samba;
mod switches;
mod volumes;

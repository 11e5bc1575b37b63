//! The driver against a real libvirt.
//!
//! `LABYARD_TEST_LIBVIRT_URI` names a host that may be played with (its storage pool is `default`, and `small` a tmpfs
//! of a few MiB); `LABYARD_TEST_GUEST` a directory with `vmlinuz` and `initrd` of a guest that boots. Without a host
//! the tests say that they were skipped; with `LABYARD_REQUIRE_LIBVIRT=1` that is a failure.

mod bounds;
mod conformance;
mod host;
mod main_line;
mod own_host;
mod probe;
mod states;
mod uploads;

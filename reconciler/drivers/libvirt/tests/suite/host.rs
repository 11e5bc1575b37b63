//! The host that tests play with.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use labyard_driver::conformance::{Guest, sample};
use labyard_driver::ids::{Mib, PoolName};
use labyard_driver::spec::{DirectBoot, MachineSpec, NetworkSpec};
use labyard_driver_libvirt::{AcceleratorChoice, LibvirtConfig, LibvirtDriver};

/// The pool for disks.
pub(crate) fn pool() -> PoolName {
    PoolName::from("default")
}

/// The URI of the host, or a word that the test was skipped.
pub(crate) fn uri() -> Option<String> {
    let uri = std::env::var("LABYARD_TEST_LIBVIRT_URI")
        .ok()
        .filter(|uri| !uri.is_empty());
    if uri.is_none() {
        assert!(
            std::env::var("LABYARD_REQUIRE_LIBVIRT").as_deref() != Ok("1"),
            "LABYARD_REQUIRE_LIBVIRT is set and LABYARD_TEST_LIBVIRT_URI names no host"
        );
        eprintln!("SKIPPED: LABYARD_TEST_LIBVIRT_URI names no libvirt host to test on");
    }
    uri
}

/// A driver for it.
pub(crate) fn driver(uri: &str) -> LibvirtDriver {
    driver_of(uri, AcceleratorChoice::Qemu)
}

/// A driver for it with a choice of what runs guests.
pub(crate) fn driver_of(uri: &str, accelerator: AcceleratorChoice) -> LibvirtDriver {
    LibvirtDriver::new(LibvirtConfig {
        uri: uri.to_owned(),
        storage_pool: None,
        accelerator,
    })
    .unwrap()
}

/// A name that nothing has.
pub(crate) fn fresh(hint: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t{}-{count}-{hint}", std::process::id())
}

/// A net that no other test of this process has.
pub(crate) fn free_net() -> ipnet::Ipv4Net {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let third = COUNT.fetch_add(1, Ordering::Relaxed);
    ipnet::Ipv4Net::new([10, 213, third, 0].into(), 24).unwrap()
}

/// A network that is not there yet.
pub(crate) fn network(hint: &str) -> NetworkSpec {
    sample::network(&fresh(hint), free_net())
}

/// A machine that is not there yet.
pub(crate) fn machine(hint: &str) -> MachineSpec {
    sample::machine(&fresh(hint))
}

/// A guest that boots, if one is named.
pub(crate) fn guest() -> Option<Guest> {
    let directory = PathBuf::from(std::env::var_os("LABYARD_TEST_GUEST")?);
    let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
    Some(Guest {
        direct_boot: DirectBoot {
            kernel: path("vmlinuz"),
            initrd: Some(path("initrd")),
            cmdline: Some("console=ttyS0 quiet no_timer_check guest.network=all".to_owned()),
        },
        memory: Mib(256),
        patience: Duration::from_secs(120),
    })
}

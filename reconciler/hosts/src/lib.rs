//! Hosts of a configuration as the engine takes them: a driver for each kind, and the operator's policy. Provider and
//! daemon configure hosts in the same words; what those mean stands here.
//!
//! ```
//! use labyard_schema::provider::{Host, SimHost};
//! let host = Host { sim: Some(SimHost { socket: "/run/sim".into() }), ..Host::default() };
//! assert!(labyard_hosts::made("s", &host).unwrap().is_some());
//! ```

use labyard_driver::ids::{HostName, Mib};
use labyard_driver::{Driver, DriverError};
use labyard_driver_libvirt::{AcceleratorChoice, LibvirtConfig, LibvirtDriver};
use labyard_driver_sim::SimDriver;
use labyard_reconciler::host::{Cordon, Host, HostPolicy};
use labyard_schema::provider as config;
use labyard_schema::text::Span;
use std::{sync::Arc, time::Duration};

/// The host of that name; `None` for one of no kind. Nothing is contacted before it is used.
///
/// # Errors
/// If what its kind is told cannot be.
pub fn made(name: &str, host: &config::Host) -> Result<Option<Host>, DriverError> {
    // Leases are renewed on a connection of their own.
    let (Some(driver), Some(renewals)) = (driver(host)?, driver(host)?) else {
        return Ok(None);
    };
    let made = Host::new(HostName(name.to_owned()), driver, renewals);
    Ok(Some(made.with_policy(policy(host))))
}

fn policy(host: &config::Host) -> HostPolicy {
    let limits = host.capacity.clone().unwrap_or_default();
    let retention = host
        .libvirt
        .as_ref()
        .and_then(|libvirt| libvirt.image_retention.as_ref());
    HostPolicy {
        cordon: match host.cordoned {
            Some(true) => Cordon::Closed,
            Some(false) | None => Cordon::Open,
        },
        memory: limits.memory_mib.map(Mib),
        cpus: limits.cpus,
        image_retention: retention.map(|span| Span::or(Some(span), Duration::ZERO)),
    }
}

fn driver(host: &config::Host) -> Result<Option<Arc<dyn Driver>>, DriverError> {
    if let Some(libvirt) = &host.libvirt {
        let accelerator = match libvirt.accelerator.as_deref() {
            Some("kvm") => AcceleratorChoice::Kvm,
            Some("qemu") => AcceleratorChoice::Qemu,
            _ => AcceleratorChoice::Auto,
        };
        let config = LibvirtConfig {
            uri: libvirt.uri.clone(),
            storage_pool: libvirt.storage_pool.clone(),
            accelerator,
        };
        return Ok(Some(Arc::new(LibvirtDriver::new(config)?)));
    }
    Ok(host
        .sim
        .as_ref()
        .map(|sim| Arc::new(SimDriver::connect(sim.socket.as_ref())) as Arc<dyn Driver>))
}

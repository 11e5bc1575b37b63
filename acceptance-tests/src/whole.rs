//! A stopped machine with a disk of an image, a blank disk, a seed and a NIC: what is asked for, and what of it must
//! stand on the host, no less and no more.

use crate::command::output_of;
use crate::error::{HarnessError, Result};
use crate::hcl;
use crate::host::Host;
use crate::observer::Description;
use std::path::Path;
use std::process::Command;

/// The network `lab` and, on it, stopped machines of these names.
pub fn lab(image: &str, names: &[&str]) -> String {
    let machines: String = names
        .iter()
        .map(|name| machine(name, image, "labyard_network.lab.name", ""))
        .collect();
    hcl::network("lab", 77) + &machines
}

/// A stopped machine on a network, with what else it has.
pub fn machine(name: &str, image: &str, network: &str, more: &str) -> String {
    hcl::machine(
        name,
        format!(
            "memory_mib = 128\n  power = \"stopped\"\n  disks = {{\n    root = {{ image = {{ source = \"{image}\" }} }}\n    \
             data = {{ size_gib = 1 }}\n  }}\n  nics = {{ lan = {{ network = {network} }} }}\n  \
             cloud_init = {{ user_data = \"#cloud-config\\n\" }}\n  {more}"
        ),
    )
}

/// A small image of 8 MiB, with content of its own as long as `bytes`.
pub fn write_image(path: &Path, bytes: usize) -> Result<String> {
    let raw = path.with_extension("raw");
    let content: Vec<u8> = (0..bytes).map(|n| (n * 31 + n / 251) as u8).collect();
    std::fs::write(&raw, content).map_err(HarnessError::file("write an image's content"))?;
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-q", "-f", "raw", "-O", "qcow2"]);
    output_of(convert.arg(&raw).arg(path))?;
    Ok(format!("file:{}", path.display()))
}

/// What stands on a host of machines of these names, their image and their network; anything that is missing, left
/// over or doubled, in words.
pub fn faults(host: &Host, names: &[&str]) -> Result<Vec<String>> {
    let observer = host.observer()?;
    let mut faults = Vec::new();
    let mut expect = |what: &str, seen: usize, wanted: usize| {
        if seen != wanted {
            faults.push(format!("{what}: {seen} instead of {wanted}"));
        }
    };
    let domains = observer.domains()?;
    expect("machines", domains.len(), names.len());
    let volumes = observer.volumes("default")?;
    let of = |prefix: &str| volumes.iter().filter(|v| v.name.starts_with(prefix)).count();
    for name in names {
        for part in ["root", "data", "seed"] {
            let prefix = format!("{name}.{part}.");
            expect(&prefix, of(&prefix), 1);
        }
        let xml = observer.domain_xml(name, Description::Persistent)?;
        let sources = volumes.iter().filter(|v| xml.contains(&format!("'{}'", v.path)));
        expect(
            &format!("volumes in the definition of {name}"),
            sources.count(),
            3,
        );
        expect(&format!("NICs of {name}"), xml.matches("<interface ").count(), 1);
    }
    let images = if names.is_empty() { 0 } else { 2 };
    expect("images with their markers", of("labyard-image."), images);
    expect("volumes", volumes.len(), 3 * names.len() + images);
    let networks = observer.networks()?;
    let reserved: usize = networks.iter().map(|n| n.xml.matches("<host mac=").count()).sum();
    expect("reservations", reserved, names.len());
    if !faults.is_empty() {
        faults.extend(host.inventory()?.lines().iter().cloned());
    }
    Ok(faults)
}

/// Ends the test where anything is missing, left over or doubled.
#[track_caller]
pub fn assert_whole(host: &Host, names: &[&str]) {
    match faults(host, names) {
        Ok(faults) => assert!(faults.is_empty(), "{}", faults.join("\n")),
        Err(error) => panic!("{error}"),
    }
}

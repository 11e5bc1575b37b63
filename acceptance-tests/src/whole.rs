//! A stopped machine with a disk of an image, a blank disk, a seed and a NIC, and one that has everything: what is asked
//! for, and what of it must stand on the host, no less and no more.

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

/// What of a machine stands on its host.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// What its volumes are called after its own name.
    volumes: &'static [&'static str],
    /// The images that its devices are made of or have in them.
    images: usize,
    /// Its NICs, each with a reserved address.
    nics: usize,
    /// Words of its definition.
    words: &'static [&'static str],
}

/// A machine of [`machine`].
pub const SMALL: Parts = Parts {
    volumes: &["root", "data", "seed"],
    images: 1,
    nics: 1,
    words: &[],
};

/// A machine of [`Full`].
pub const FULL: Parts = Parts {
    volumes: &["root", "data", "seed", "nvram"],
    images: 2,
    nics: 2,
    words: &["<tpm model='tpm-crb'>", "<loader ", "device='cdrom'"],
};

/// A stopped machine with all that leaves something on a host: UEFI with a certificate in variables of its own, a TPM, a
/// CD, two disks, two NICs on networks `lab` and `side`, one with a fixed address, and a seed of `guest`.
#[derive(Debug, Clone)]
pub struct Full<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its memory; another one changes whatever depends on [`Full::number`].
    pub memory_mib: u32,
    /// What seed, labels and fixed address, 10.77.0.`number`, are made of.
    pub number: u8,
    /// The size of its blank disk.
    pub data_gib: u32,
    /// Where the image of its first disk is.
    pub image: &'a str,
    /// Where its CD's is.
    pub cd: &'a str,
    /// Whom its firmware trusts.
    pub ca: &'a str,
}

impl Full<'_> {
    /// The machine and its networks.
    pub fn hcl(&self) -> String {
        let Self {
            number,
            memory_mib,
            data_gib,
            image,
            cd,
            ca,
            ..
        } = self;
        let machine = hcl::machine(
            self.name,
            format!(
                "memory_mib = {memory_mib}\n  power = \"stopped\"
  firmware = {{ type = \"uefi\", tpm = true }}
  boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}
  disks = {{
    root = {{ image = {{ source = \"{image}\" }} }}
    data = {{ size_gib = {data_gib} }}
  }}
  media = {{ tools = {{ image = {{ source = \"{cd}\" }} }} }}
  nics = {{
    lan = {{ network = labyard_network.lab.name, ipv4 = {{ address = \"10.77.0.{number}/24\" }} }}
    side = {{ network = labyard_network.side.name }}
  }}
  guest = {{ os_family = \"linux\", hostname = \"guest-{number}\" }}
  labels = {{ number = \"{number}\" }}"
            ),
        );
        hcl::network("lab", 77) + &hcl::network("side", 78) + &machine
    }
}

/// A CD's image that begins with a text.
pub fn write_cd(path: &Path, text: &str) -> Result<String> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(1 << 16, 0);
    std::fs::write(path, bytes).map_err(HarnessError::file("write a CD's image"))?;
    Ok(format!("file:{}", path.display()))
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

/// What stands on a host of small machines of these names, their image and their network; anything that is missing, left
/// over or doubled, in words.
pub fn faults(host: &Host, names: &[&str]) -> Result<Vec<String>> {
    faults_of(host, names, &SMALL)
}

fn faults_of(host: &Host, names: &[&str], parts: &Parts) -> Result<Vec<String>> {
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
    let defined = parts.volumes.len() + parts.images - 1;
    for name in names {
        for part in parts.volumes {
            let prefix = format!("{name}.{part}.");
            expect(&prefix, of(&prefix), 1);
        }
        let xml = observer.domain_xml(name, Description::Persistent)?;
        let sources = volumes.iter().filter(|v| xml.contains(&v.path));
        expect(
            &format!("volumes in the definition of {name}"),
            sources.count(),
            defined,
        );
        let nics = xml.matches("<interface ").count();
        expect(&format!("NICs of {name}"), nics, parts.nics);
        for word in parts.words {
            expect(&format!("{word} of {name}"), xml.matches(word).count().min(1), 1);
        }
    }
    // Each is its data and its marker.
    let images = if names.is_empty() { 0 } else { 2 * parts.images };
    expect("images with their markers", of("labyard-image."), images);
    expect(
        "volumes",
        volumes.len(),
        parts.volumes.len() * names.len() + images,
    );
    let networks = observer.networks()?;
    let reserved: usize = networks.iter().map(|n| n.xml.matches("<host mac=").count()).sum();
    expect("reservations", reserved, parts.nics * names.len());
    let pools = observer.connection().list_all_storage_pools(0)?;
    expect("pools", pools.len(), 1);
    if !faults.is_empty() {
        faults.extend(host.inventory()?.lines().iter().cloned());
    }
    Ok(faults)
}

/// Ends the test where anything of small machines is missing, left over or doubled.
#[track_caller]
pub fn assert_whole(host: &Host, names: &[&str]) {
    assert_whole_of(host, names, &SMALL);
}

/// The same for other machines.
#[track_caller]
pub fn assert_whole_of(host: &Host, names: &[&str], parts: &Parts) {
    match faults_of(host, names, parts) {
        Ok(faults) => assert!(faults.is_empty(), "{}", faults.join("\n")),
        Err(error) => panic!("{error}"),
    }
}

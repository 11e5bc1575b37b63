//! Machines that do not boot from their network, each for another reason: what real firmware says of it is put down to
//! its cause. Beside one of them, on the same network, two that do.

use super::{FILE, SOON, network};
use labyard_acceptance_tests::boot_server::{Authority, BootServer, Speaks};
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::terraform::{Run, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use std::collections::BTreeSet;

/// Machine, what its server speaks if one listens, whom it trusts, the URL's host where it is not the server's address,
/// and what it is told.
struct Row {
    name: &'static str,
    server: Option<Speaks>,
    trusts: bool,
    named: Option<&'static str>,
    told: &'static str,
}

const NO_CIPHER: &str = "nobody listens at the network's boot.url, or the server has no cipher in common";

const ROWS: &[Row] = &[
    Row {
        name: "nobody",
        server: Some(Speaks::AsFirmware),
        trusts: false,
        named: None,
        told: "the firmware trusts no server for HTTPS",
    },
    Row {
        name: "silent",
        server: None,
        trusts: true,
        named: None,
        told: NO_CIPHER,
    },
    Row {
        name: "ecdsa",
        server: Some(Speaks::Ecdsa),
        trusts: true,
        named: None,
        told: NO_CIPHER,
    },
    Row {
        name: "ecdhe",
        server: Some(Speaks::Ecdhe),
        trusts: true,
        named: None,
        told: NO_CIPHER,
    },
    Row {
        name: "newest",
        server: Some(Speaks::Tls13),
        trusts: true,
        named: None,
        told: NO_CIPHER,
    },
    Row {
        name: "renamed",
        server: Some(Speaks::AsFirmware),
        trusts: true,
        named: Some("boot.edge.test"),
        told: "it is not for the host in the network's boot.url",
    },
    Row {
        name: "unknown",
        server: Some(Speaks::AsFirmware),
        trusts: true,
        named: Some("nowhere.edge.test"),
        told: "was not resolved",
    },
];

#[test]
fn each_reason_why_firmware_does_not_boot_from_its_network_is_told_by_its_cause() {
    let host = &Host::start().unwrap();
    let authority = &Authority::new("boot").unwrap();
    let ca = authority.pem().unwrap();
    // To connect to a guest's port the provider has to be where the guest is.
    let terraform = &Terraform::new().unwrap().inside(host);
    let before = host.inventory().unwrap();
    let mut servers = Vec::new();
    let mut config = hcl::on(host);
    for (row, subnet) in ROWS.iter().zip(101..) {
        let (address, port) = (format!("10.{subnet}.0.1"), 8000 + u16::from(subnet));
        if let Some(speaks) = row.server {
            let server = BootServer::speaking(speaks, host, authority, &address, port).unwrap();
            servers.push(server);
        }
        let records = format!("dns = {{ records = {{ \"boot.edge.test\" = [{address:?}] }} }}");
        let at = row.named.unwrap_or(&address);
        let boot = format!("boot = {{ url = \"https://{at}:{port}/{FILE}\" }}\n  {records}");
        config += &network(row.name, subnet, &boot);
        let trusted = if row.trusts { &ca } else { "" };
        config += &node(row.name, row.name, trusted, "\"tcp:22\", timeout = \"8m\"");
    }
    // Its network is theirs too, and each trusts for itself.
    for name in ["one", "two"] {
        config += &node(name, "nobody", &ca, "\"none\"");
    }
    std::fs::write(servers[0].files().join(FILE), "no program").unwrap();
    terraform.write("main.tf", &config).unwrap();
    // Two at a time: emulated firmware takes a processor each.
    let run = terraform.apply(&["-parallelism=2"]).unwrap().expect_failure();
    for row in ROWS {
        assert_told(&run, row);
    }
    assert_eq!(run.errors().len(), ROWS.len(), "{}", run.text());
    two_fetch_the_file_of_one_network(&servers[0]);
    drop(servers);
    terraform.destroyed();
    host.assert_as(&before);
}

/// A machine whose firmware trusts `ca`.
fn node(name: &str, network: &str, ca: &str, ready: &str) -> String {
    let trusts = match ca {
        "" => String::new(),
        ca => format!("boot = {{ ca_certificate = <<-PEM\n{ca}PEM\n  }}"),
    };
    let body = format!(
        "memory_mib = 256\n  firmware = {{ type = \"uefi\" }}\n  {trusts}
  nics = {{ lan = {{ network = labyard_network.{network}.name, boot = 1 }} }}
  shutdown = {{ mode = \"force\" }}
  ready = {{ wait = {ready} }}"
    );
    hcl::machine(name, body)
}

#[track_caller]
fn two_fetch_the_file_of_one_network(server: &BootServer) {
    until("two machines that fetch the file", SOON, || {
        let asked = server.asked();
        let fetched = asked
            .iter()
            .filter(|one| one.method == "GET" && one.status == "200");
        let from: BTreeSet<_> = fetched.map(|one| &one.from).collect();
        Ok(match from.len() {
            2 => Look::Holds(()),
            _ => Look::NotYet(format!("{asked:?}")),
        })
    })
    .unwrap();
}

#[track_caller]
fn assert_told(run: &Run, row: &Row) {
    let address = format!("labyard_vm.{}", row.name);
    let errors = run.errors();
    let error = errors
        .iter()
        .find(|error| error.address.as_deref() == Some(&address));
    let error = error.unwrap_or_else(|| panic!("no error of {address}:\n{}", run.text()));
    println!("{}: {}", row.name, error.detail);
    assert!(
        error.text().contains(row.told),
        "{}: not {:?}",
        row.name,
        row.told
    );
}

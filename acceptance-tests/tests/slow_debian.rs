//! A whole Debian, from a disk image built of its packages: boots by UEFI, takes its seed by its own cloud-init without a
//! warning, and grows with its disk. Takes minutes, since it is emulated: `make test-slow` runs it.

use labyard_acceptance_tests::assets::debian;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::terraform::Terraform;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Guest, hcl};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// For what a machine under emulation does after its agent answers.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const GIB: u64 = 1 << 30;
const PASSWORD: &str = "Correct-Horse-7";

fn config(host: &Host, key: &KeyPair, root_gib: u32) -> String {
    let machine = format!(
        "memory_mib = 768
  cpus = 2
  firmware = {{ type = \"uefi\" }}
  disks = {{ root = {{ size_gib = {root_gib}, image = {{ source = \"file:{image}\" }} }} }}
  nics = {{ lan = {{ network = labyard_network.lab.name, ipv4 = {{ address = \"10.78.0.10/24\", gateway = \"10.78.0.1\" }} }} }}
  guest = {{
    hostname = \"inner\"
    admin_username = \"ops\"
    admin_password_wo = \"{PASSWORD}\"
    admin_password_wo_version = 1
    ssh_authorized_keys = [\"{key}\"]
    users = {{ ann = {{ ssh_authorized_keys = [\"{key}\"] }} }}
    dns_servers = [\"10.78.0.1\"]
    dns_suffix = \"lab.test\"
  }}
  cloud_init = {{ user_data = \"#cloud-config\\nwrite_files:\\n  - path: /etc/told\\n    content: by user data\\n\" }}
  allow_restart = false
  ready = {{ wait = \"agent\", timeout = \"40m\" }}
  shutdown = {{ mode = \"graceful\", timeout = \"5m\" }}
  timeouts = {{ create = \"60m\" }}",
        image = debian().unwrap().display(),
        key = key.public,
    );
    // Without DHCP, so that the seed alone tells the guest its address.
    let network = hcl::resource(
        "labyard_network",
        "lab",
        "mode = \"nat\"\n  ipv4 = { cidr = \"10.78.0.0/24\" }",
    );
    hcl::on(host) + &network + &hcl::machine("debian", machine)
}

/// What was done, and when: a guest under emulation is slow, and one wants to see where.
struct Clock(Instant);

impl Clock {
    fn lap(&mut self, what: &str) {
        println!("{:>7.1} s  {what}", self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

fn json_of(guest: &Guest<'_>, command: &str) -> Value {
    let said = guest.run(command).unwrap();
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command}: {error}: {said}"))
}

fn bytes_of_root(guest: &Guest<'_>) -> u64 {
    let said = guest
        .run("df --block-size=1 --output=size / | tail -n 1")
        .unwrap();
    said.trim().parse().unwrap()
}

#[test]
fn a_whole_debian_boots_by_uefi_takes_its_seed_without_a_warning_and_grows_with_its_disk() {
    let host = &Host::start().unwrap();
    let before = host.inventory().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    let mut clock = Clock(Instant::now());

    terraform.write("main.tf", &config(host, &key, 3)).unwrap();
    clock.lap("image at hand");
    terraform.apply(&[]).unwrap().expect_success();
    clock.lap("apply, until the agent answers");
    let made = terraform.attributes("labyard_vm.debian").unwrap().unwrap();
    assert_eq!(made["ip"], "10.78.0.10");
    let guest = &Guest::at(host, "10.78.0.10", &key).as_user("ops");
    guest.wait_for_ssh(PATIENCE).unwrap();
    clock.lap("SSH as the user asked for");

    assert_seed_taken_without_a_warning(guest);
    clock.lap("cloud-init at its end");
    assert_guest_as_asked(guest);
    Guest::at(host, "10.78.0.10", &key)
        .as_user("ann")
        .run("true")
        .unwrap();
    let first = bytes_of_root(guest);
    assert!(first > 5 * GIB / 2, "2 GiB of image on a disk of 3 GiB: {first}");
    terraform.plan(&[]).unwrap().expect_empty();
    terraform.plan(&["-refresh-only"]).unwrap().expect_empty();
    clock.lap("looked at");

    let boot = guest.boot_id().unwrap();
    terraform.write("main.tf", &config(host, &key, 5)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    until("the guest to see its larger disk", PATIENCE, || {
        let seen = guest.disk_bytes("vda")?;
        Ok(match seen {
            Some(bytes) if bytes == 5 * GIB => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        })
    })
    .unwrap();
    // What cloud-init does at each boot, without one: the partition, then the file system.
    guest
        .run("sudo -n growpart /dev/vda 1 && sudo -n resize2fs /dev/vda1")
        .unwrap();
    let grown = bytes_of_root(guest);
    assert!(grown > first + 3 * GIB / 2, "{first}, then {grown}");
    assert_eq!(guest.boot_id().unwrap(), boot);
    terraform.plan(&[]).unwrap().expect_empty();
    clock.lap("grown while it ran");

    terraform.destroy(&[]).unwrap().expect_success();
    clock.lap("shut down by itself, destroyed");
    let left = before.changes_to(&host.inventory().unwrap());
    assert!(left.is_empty(), "left over or lost:\n{left}");
}

fn assert_seed_taken_without_a_warning(guest: &Guest<'_>) {
    let status = until("cloud-init's end", PATIENCE, || {
        let said = guest.run("cloud-init status --long || true")?;
        Ok(
            match said.contains("status: running") || said.contains("status: not run") {
                true => Look::NotYet(said),
                false => Look::Holds(said),
            },
        )
    });
    let status = status.unwrap();
    assert!(
        status.contains("status: done") && status.contains("DataSourceNoCloud"),
        "{status}"
    );
    let result = json_of(guest, "cat /run/cloud-init/result.json");
    assert_eq!(result["v1"]["errors"], json!([]), "{result}");
    let log = "/var/log/cloud-init.log";
    let warned = format!(
        "sudo -n grep -hE '\\[(WARNING|ERROR|CRITICAL)\\]|Traceback' {log} /var/log/cloud-init-output.log || true"
    );
    assert_eq!(guest.run(&warned).unwrap(), "");
    let schema = guest.run("sudo -n cloud-init schema --system 2>&1").unwrap();
    assert!(
        !schema.to_lowercase().contains("invalid") && !schema.contains("deprecated"),
        "{schema}"
    );
}

fn assert_guest_as_asked(guest: &Guest<'_>) {
    guest.run("test -d /sys/firmware/efi").unwrap();
    assert_eq!(guest.host_name().unwrap(), "inner");
    assert_eq!(guest.run("hostname --fqdn").unwrap().trim(), "inner.lab.test");
    assert_eq!(guest.run("sudo -n id -un").unwrap().trim(), "root");
    assert_eq!(guest.run("cat /etc/told").unwrap().trim(), "by user data");

    let verify = format!(
        "sudo -n python3 -W ignore -c 'import crypt, spwd; h = spwd.getspnam(\"ops\").sp_pwdp; \
         print(h[:3], crypt.crypt(\"{PASSWORD}\", h) == h)'"
    );
    assert_eq!(guest.run(&verify).unwrap().trim(), "$6$ True");

    let addresses = json_of(guest, "ip -json -4 address show scope global");
    let all: Vec<_> = addresses
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|link| link["addr_info"].as_array().unwrap())
        .collect();
    assert_eq!(all.len(), 1, "{addresses}");
    assert_eq!(
        (&all[0]["local"], &all[0]["prefixlen"]),
        (&json!("10.78.0.10"), &json!(24))
    );
    assert_eq!(all[0]["dynamic"], Value::Null, "static: {addresses}");
    let routes = json_of(guest, "ip -json -4 route show default");
    assert_eq!(routes[0]["gateway"], "10.78.0.1", "{routes}");
    let resolver = guest.run("resolvectl dns; resolvectl domain").unwrap();
    assert!(
        resolver.contains("10.78.0.1") && resolver.contains("lab.test"),
        "{resolver}"
    );
}

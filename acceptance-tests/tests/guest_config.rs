//! What a guest is told by `guest` and `cloud_init`: it stands in the seed as cloud-init itself reads it, comes back by
//! an import, is renewed without a restart, put back where a hand took it away, and gone when it is not asked for.

use labyard_acceptance_tests::guest::Guest;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::nocloud::SeedFiles;
use labyard_acceptance_tests::observer::Description;
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::{Terraform, hcl};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

/// What every family takes.
const COMMON: &[&str] = &[
    "labyard_vm.guest",
    "labyard_vm.guest.os_family",
    "labyard_vm.guest.hostname",
    "labyard_vm.guest.admin_username",
    "labyard_vm.guest.admin_password_wo",
    "labyard_vm.guest.admin_password_wo_version",
    "labyard_vm.guest.ssh_authorized_keys",
    "labyard_vm.guest.users",
    "labyard_vm.guest.users.ssh_authorized_keys",
    "labyard_vm.guest.users.admin",
    "labyard_vm.guest.dns_servers",
    "labyard_vm.guest.dns_suffix",
];
const JOIN: &[&str] = &[
    "labyard_vm.guest.domain_join",
    "labyard_vm.guest.domain_join.domain",
    "labyard_vm.guest.domain_join.username",
    "labyard_vm.guest.domain_join.password_wo",
    "labyard_vm.guest.domain_join.password_wo_version",
    "labyard_vm.guest.domain_join.ou",
];
const CLOUD_INIT: &[&str] = &[
    "labyard_vm.cloud_init",
    "labyard_vm.cloud_init.user_data",
    "labyard_vm.cloud_init.user_data_wo",
    "labyard_vm.cloud_init.user_data_wo_version",
    "labyard_vm.cloud_init.network_config",
    "labyard_vm.cloud_init.meta_data",
];
const MACHINES: [&str; 4] = ["linux", "windows", "plain", "sealed"];

/// Values of which there are two, so that everything can change.
struct Round {
    word: &'static str,
    number: u32,
    admin: bool,
}

const FIRST: Round = Round {
    word: "one",
    number: 1,
    admin: false,
};
const SECOND: Round = Round {
    word: "two",
    number: 2,
    admin: true,
};

impl Round {
    fn config(&self, host: &Host) -> String {
        let Self { word, number, admin } = self;
        let nic = "nics = { lan = { network = labyard_network.lab.name } }";
        let stopped = "memory_mib = 64\n  power = \"stopped\"";
        let common = format!(
            "hostname = \"{word}\", admin_username = \"ops-{word}\", admin_password_wo = \"Horse-{word}\"
    admin_password_wo_version = {number}, ssh_authorized_keys = [\"ssh-ed25519 AAAA{word}\"]
    users = {{ ann = {{ ssh_authorized_keys = [\"ssh-rsa AAAA{word}\"], admin = {admin} }}, bob = {{}} }}
    dns_servers = [\"10.0.0.{number}\"], dns_suffix = \"{word}.test\""
        )
        .replace('\n', ",\n");
        let join = format!(
            "domain_join = {{ domain = \"{word}.corp.test\", username = \"joiner-{word}\", password_wo = \"Join-{word}\", \
             password_wo_version = {number}, ou = \"OU={word},DC=corp,DC=test\" }}"
        );
        let plain = format!(
            "cloud_init = {{ user_data = \"#cloud-config\\n# {word}\\n\", network_config = \"version: {number}\\n\", \
             meta_data = \"instance-id: {word}\\n\" }}"
        );
        let sealed = format!(
            "cloud_init = {{ user_data_wo = \"#cloud-config\\n# sealed {word}\\n\", user_data_wo_version = {number} }}"
        );
        let user_data = "cloud_init = { user_data = \"#ps1\\nGet-Date\\n\" }";
        [
            hcl::on(host),
            hcl::network("lab", 77),
            hcl::machine(
                "linux",
                format!("{stopped}\n  {nic}\n  guest = {{ os_family = \"linux\", {common} }}"),
            ),
            hcl::machine(
                "windows",
                format!(
                    "{stopped}\n  {nic}\n  {user_data}\n  guest = {{ os_family = \"windows\", {common}, {join} }}"
                ),
            ),
            hcl::machine("plain", format!("{stopped}\n  {plain}")),
            hcl::machine("sealed", format!("{stopped}\n  {sealed}")),
        ]
        .concat()
    }

    /// What stands in the seeds, as others read it.
    #[track_caller]
    fn assert_seeded(&self, host: &Host) {
        self.assert_linux(&SeedFiles::of(host, "linux").unwrap());
        self.assert_windows(&SeedFiles::of(host, "windows").unwrap());
        let plain = SeedFiles::of(host, "plain").unwrap();
        assert!(plain.text("user-data").unwrap().contains(self.word));
        assert!(plain.text("vendor-data").is_none());
        let read = format!("version: {}\n", self.number);
        assert_eq!(plain.text("network-config"), Some(read));
        assert!(plain.text("meta-data").unwrap().starts_with("instance-id: "));
        let sealed = SeedFiles::of(host, "sealed").unwrap();
        assert!(
            sealed
                .text("user-data")
                .unwrap()
                .contains(&format!("sealed {}", self.word))
        );
        for name in MACHINES {
            let seed = SeedFiles::of(host, name).unwrap();
            assert_eq!(seed.mode(), 0o600, "{}", seed.volume().display());
        }
    }

    #[track_caller]
    fn assert_linux(&self, seed: &SeedFiles) {
        assert_eq!(seed.schema_faults("vendor-data").unwrap(), "");
        let read = seed.as_cloud_init_reads_it().unwrap();
        let word = self.word;
        assert_eq!(read["names"], json!([word, format!("{word}.{word}.test")]));
        let admin = &read["users"][format!("ops-{word}")];
        assert_eq!(
            admin["ssh_authorized_keys"],
            json!([format!("ssh-ed25519 AAAA{word}")])
        );
        assert!(admin["hashed_passwd"].as_str().unwrap().starts_with("$6$rounds="));
        let ann = &read["users"]["ann"];
        assert_eq!(ann["ssh_authorized_keys"], json!([format!("ssh-rsa AAAA{word}")]));
        assert_eq!(ann["sudo"].is_string(), self.admin, "{ann}");
        assert_eq!(read["users"]["bob"]["lock_passwd"], true);
        assert!(
            read["users"]["debian"].is_null(),
            "a named admin is instead of the image's user"
        );
        let lan = &read["network"]["ethernets"]["lan"];
        assert_eq!(
            lan["nameservers"],
            json!({"addresses": [format!("10.0.0.{}", self.number)], "search": [format!("{word}.test")]})
        );
        assert_eq!(
            (&lan["dhcp4"], &read["meta_data"]["local-hostname"]),
            (&json!(true), &json!(word))
        );
    }

    #[track_caller]
    fn assert_windows(&self, seed: &SeedFiles) {
        let parts = mime_parts(&seed.text("user-data").unwrap());
        let types: Vec<_> = parts.iter().map(|part| part["type"].as_str().unwrap()).collect();
        assert_eq!(
            types,
            ["text/cloud-config", "text/x-shellscript", "text/x-shellscript"]
        );
        let text = |at: usize| parts[at]["text"].as_str().unwrap();
        let word = self.word;
        assert!(
            text(0).contains(&format!("\"passwd\": \"Horse-{word}\"")),
            "{}",
            text(0)
        );
        assert_eq!(
            text(0).matches("Administrators").count(),
            1 + usize::from(self.admin)
        );
        assert!(
            text(1).contains("Add-Computer @join") && !text(1).contains("Join-"),
            "{}",
            text(1)
        );
        assert!(text(1).contains(&format!("'10.0.0.{}'", self.number)));
        assert_eq!(text(2), "#ps1\nGet-Date\n");
        assert!(
            seed.text("meta-data")
                .unwrap()
                .contains(&format!("local-hostname: \"{word}\""))
        );
        assert!(seed.text("network-config").is_none(), "DHCP needs none");
    }
}

/// The parts of a message, as Python's own reader sees them.
fn mime_parts(message: &str) -> Vec<Value> {
    const READ: &str = "import email, json, sys
parts = [p for p in email.message_from_string(sys.argv[1]).walk() if not p.is_multipart()]
print(json.dumps([{'type': p.get_content_type(), 'name': p.get_filename(),
                   'text': p.get_payload(decode=True).decode()} for p in parts]))";
    let mut python = std::process::Command::new("/usr/bin/python3");
    let said = labyard_acceptance_tests::command::output_of(python.args(["-c", READ, message])).unwrap();
    serde_json::from_str(&said).unwrap()
}

/// All that a Windows guest reads in a message, what is encoded within its scripts too.
fn windows_words(message: &str) -> String {
    const READ: &str = "import base64, email, re, sys
for part in email.message_from_string(sys.argv[1]).walk():
    if not part.is_multipart():
        text = part.get_payload(decode=True).decode()
        print(text, *(base64.b64decode(word).decode() for word in re.findall(r\"Text '([^']*)'\", text)))";
    let mut python = std::process::Command::new("/usr/bin/python3");
    labyard_acceptance_tests::command::output_of(python.args(["-c", READ, message])).unwrap_or_default()
}

fn all() -> Vec<&'static str> {
    [COMMON, JOIN, CLOUD_INIT].concat()
}

#[test]
fn a_seed_says_it_comes_back_changes_and_is_put_back() {
    let host = &Host::start().unwrap();
    let empty = host.inventory().unwrap();
    let terraform = &Terraform::new().unwrap();
    terraform.write("main.tf", &FIRST.config(host)).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    FIRST.assert_seeded(host);
    terraform.assert_settled();
    shows(&all(), Case::Create);

    imported(terraform);
    taken_away_by_hand(terraform, host);
    FIRST.assert_seeded(host);

    let plan = terraform.planned(&SECOND.config(host));
    for name in MACHINES {
        assert_eq!(plan.actions(&format!("labyard_vm.{name}")), ["update"], "{name}");
    }
    let warnings = plan.run().warnings();
    let renewed = warnings.iter().filter(|w| w.summary == "Seed will be renewed");
    assert_eq!(renewed.count(), MACHINES.len(), "{}", plan.run().text());
    terraform.apply(&[]).unwrap().expect_success();
    SECOND.assert_seeded(host);
    terraform.assert_settled();

    let bare = hcl::on(host)
        + &hcl::network("lab", 77)
        + &MACHINES
            .map(|name| hcl::machine(name, "memory_mib = 64\n  power = \"stopped\""))
            .concat();
    terraform.planned(&bare);
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    let left = host.observer().unwrap().volumes("default").unwrap();
    assert!(left.is_empty(), "a seed that nobody asks for is gone: {left:?}");
    for name in MACHINES {
        let definition = host
            .observer()
            .unwrap()
            .domain_xml(name, Description::Persistent)
            .unwrap();
        assert!(!definition.contains(".seed."), "{definition}");
    }
    terraform.destroy(&[]).unwrap().expect_success();
    let left = empty.changes_to(&host.inventory().unwrap());
    assert!(left.is_empty(), "left over or lost:\n{left}");
}

fn imported(terraform: &Terraform<'_>) {
    for name in MACHINES {
        terraform.take_up_as_written(&format!("labyard_vm.{name}"), &format!("lab1/{name}"));
    }
    terraform.assert_settled();
    let stored: Vec<_> = all().into_iter().filter(|path| !path.ends_with("_wo")).collect();
    shows(&stored, Case::Import);
}

/// Ejected, or lost with its volume: what asked for the seed reads as nothing, and an apply makes it again.
fn taken_away_by_hand(terraform: &Terraform<'_>, host: &Host) {
    for name in ["linux", "plain"] {
        host.virsh(&["change-media", name, "sda", "--eject", "--config"])
            .unwrap();
    }
    for name in ["windows", "sealed"] {
        let seed = SeedFiles::of(host, name).unwrap();
        host.virsh(&["vol-delete", &seed.volume().display().to_string()])
            .unwrap();
    }
    let plan = terraform.plan(&[]).unwrap().expect_success();
    for (name, attributes) in [
        ("linux", &["guest"][..]),
        ("windows", &["guest", "cloud_init"]),
        ("plain", &["cloud_init"]),
        ("sealed", &["cloud_init"]),
    ] {
        let change = plan.change(&format!("labyard_vm.{name}"));
        for attribute in attributes {
            assert_eq!(change["before"][attribute], Value::Null, "{name}");
            assert!(change["after"][attribute].is_object(), "{name}");
        }
    }
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    // As wholes: what stands in a seed is not read back.
    shows(&["labyard_vm.guest", "labyard_vm.cloud_init"], Case::Drift);
}

/// A seed of all attributes of a family, for a guest that runs and lets a key in. `plain` is the user's own files alone:
/// a network configuration of one's own and `dns_servers` exclude each other.
fn told(round: &Round, family: &str, key: &KeyPair) -> String {
    let Round { word, number, admin } = round;
    if family == "plain" {
        return format!(
            "cloud_init = {{ user_data = \"#cloud-config\\n# {word}\\n\", network_config = \"version: {number}\\n\", \
             meta_data = \"instance-id: {word}\\n\" }}"
        );
    }
    let (join, cloud_init) = match family {
        "windows" => (
            format!(
                ", domain_join = {{ domain = \"{word}.corp.test\", username = \"joiner-{word}\", password_wo = \"Join-{word}\", \
                 password_wo_version = {number}, ou = \"OU={word},DC=corp,DC=test\" }}"
            ),
            format!("user_data_wo = \"#ps1\\n# sealed {word}\\n\", user_data_wo_version = {number}"),
        ),
        _ => (
            String::new(),
            format!("user_data = \"#cloud-config\\n# {word}\\n\", meta_data = \"instance-id: {word}\\n\""),
        ),
    };
    format!(
        "guest = {{ os_family = \"{family}\", hostname = \"{word}\", admin_username = \"ops-{word}\", \
         admin_password_wo = \"Horse-{word}\", admin_password_wo_version = {number}, \
         ssh_authorized_keys = [\"{}\", \"ssh-ed25519 AAAA{word}\"], \
         users = {{ ann = {{ ssh_authorized_keys = [\"ssh-rsa AAAA{word}\"], admin = {admin} }} }}, \
         dns_servers = [\"10.0.0.{number}\"], dns_suffix = \"{word}.test\"{join} }}\n  cloud_init = {{ {cloud_init} }}",
        key.public
    )
}

/// What of a seed's files tells one round of a family from another.
fn marks(round: &Round, family: &str) -> Vec<(&'static str, String)> {
    let Round { word, number, admin } = round;
    match family {
        "windows" => vec![
            ("meta-data", format!("local-hostname: \"{word}\"")),
            ("user-data", format!("# sealed {word}")),
            ("user-data", format!("{word}.corp.test")),
            ("user-data", format!("joiner-{word}")),
            ("user-data", format!("OU={word},DC=corp")),
            ("user-data", format!("ops-{word}")),
            ("user-data", format!("\"passwd\": \"Horse-{word}\"")),
            ("user-data", format!("AAAA{word}")),
            ("user-data", format!("10.0.0.{number}")),
            ("user-data", format!("{word}.test")),
        ],
        "plain" => vec![
            ("meta-data", format!("instance-id: {word}")),
            ("user-data", format!("# {word}")),
            ("network-config", format!("version: {number}")),
        ],
        _ => vec![
            ("meta-data", format!("instance-id: {word}")),
            ("user-data", format!("# {word}")),
            ("network-config", format!("10.0.0.{number}")),
            ("network-config", format!("{word}.test")),
            ("vendor-data", format!("\"hostname\": \"{word}\"")),
            ("vendor-data", format!("ops-{word}")),
            ("vendor-data", "$6$rounds=".to_owned()),
            ("vendor-data", format!("ssh-ed25519 AAAA{word}")),
            ("vendor-data", format!("ssh-rsa AAAA{word}")),
            ("vendor-data", if *admin { "NOPASSWD" } else { "ann" }.to_owned()),
        ],
    }
}

#[test]
fn a_running_guest_sees_each_new_seed_without_a_restart_and_none_when_none_is_asked_for() {
    let host = &Host::start().unwrap();
    let empty = host.inventory().unwrap();
    let key = KeyPair::generate().unwrap();
    let terraform = &Terraform::new().unwrap();
    let config = |words: &str| {
        let body = format!(
            "memory_mib = 96\n  {}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  allow_restart = false\n  {words}",
            hcl::boot("")
        );
        hcl::on(host) + &hcl::network("lab", 77) + &hcl::machine("web", body)
    };
    let first = config(&told(&FIRST, "linux", &key));
    first_seed_of_a_running_machine(host, terraform, [&config(""), &first]);
    let made = terraform.resource("labyard_vm.web");
    let guest = Guest::at(host, made["ip"].as_str().unwrap(), &key);
    guest.wait_for_ssh(SOON).unwrap();
    let boot = guest.boot_id().unwrap();
    assert_eq!(guest.host_name().unwrap(), "one");
    let disc = |file: &str, family: &str| {
        let look = format!("mount -r -t iso9660 /dev/sr0 /run/mnt && cat /run/mnt/{file}; umount /run/mnt");
        let text = guest.run(&look).unwrap_or_default();
        match (file, family) {
            ("user-data", "windows") => windows_words(&text),
            _ => text,
        }
    };
    let mut former = (&FIRST, "linux");
    for (round, family, shown) in [
        (&SECOND, "linux", &[][..]),
        (&FIRST, "plain", &[]),
        (&SECOND, "plain", &[]),
        (&FIRST, "windows", &[]),
        (&SECOND, "windows", JOIN),
    ] {
        let plan = terraform.planned(&config(&told(round, family, &key)));
        let warned = plan.run().warnings();
        assert!(
            warned.iter().any(|w| w.summary == "Seed will be renewed"),
            "{}",
            plan.run().text()
        );
        terraform.apply(&[]).unwrap().expect_success();
        for (file, text) in marks(round, family) {
            until(&format!("{text} in {file}"), SOON, || {
                let seen = disc(file, family);
                Ok(if seen.contains(&text) {
                    Look::Holds(())
                } else {
                    Look::NotYet(seen)
                })
            })
            .unwrap();
        }
        for (file, text) in marks(former.0, former.1)
            .iter()
            .filter(|(_, text)| text.contains("one"))
        {
            assert!(
                !disc(file, family).contains(text),
                "{text} of the former round is in {file}"
            );
        }
        assert_eq!(
            guest.boot_id().unwrap(),
            boot,
            "a seed is renewed without a restart"
        );
        terraform.assert_settled();
        shows(shown, Case::Update);
        former = (round, family);
    }
    shows(&[COMMON, CLOUD_INIT].concat(), Case::Update);

    terraform.planned(&config(""));
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(guest.boot_id().unwrap(), boot);
    let gone = guest
        .run("dd if=/dev/sr0 bs=2048 count=17 2>/dev/null | grep -c cidata; true")
        .unwrap();
    assert_eq!(gone.trim(), "0", "the CD is out");
    terraform.assert_settled();
    let volumes = host.observer().unwrap().volumes("default").unwrap();
    assert!(volumes.is_empty(), "{volumes:?}");
    terraform.destroyed();
    host.assert_as(&empty);
}

/// A machine that was made without a seed gets one while it runs, and reads it when it boots.
fn first_seed_of_a_running_machine(host: &Host, terraform: &Terraform<'_>, [without, with]: [&str; 2]) {
    terraform.write("main.tf", without).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let observer = host.observer().unwrap();
    observer.wait_for_agent("web", SOON).unwrap();
    let boot = observer.boot_id("web").unwrap();
    terraform.write("main.tf", with).unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    until("the guest to see its first seed", SOON, || {
        Ok(match observer.agent_reads("web", "/sys/block/sr0/size") {
            Ok(size) if size.trim() != "0" => Look::Holds(()),
            seen => Look::NotYet(format!("{seen:?}")),
        })
    })
    .unwrap();
    assert_eq!(observer.boot_id("web").unwrap(), boot);
    host.virsh(&["reset", "web"]).unwrap();
}

/// A bad value: what of the machine is written, the attribute that is at fault, the words of its error.
type Bad = (&'static str, &'static str, &'static str);

const LINUX: &[Bad] = &[
    ("guest = 1", "guest", "object required"),
    (
        "guest = { os_family = \"bsd\" }",
        "guest.os_family",
        "linux, windows",
    ),
    ("guest = { hostname = \"a.b\" }", "guest.hostname", "host name"),
    (
        "guest = { admin_username = \"Big Boss\" }",
        "guest.admin_username",
        "user of Linux",
    ),
    (
        "guest = { admin_password_wo = \"x\\n\", admin_password_wo_version = 1 }",
        "guest.admin_password_wo",
        "control character",
    ),
    (
        "guest = { admin_password_wo = \"x\" }",
        "guest.admin_password_wo_version",
        "set it to 1",
    ),
    (
        "guest = { ssh_authorized_keys = [\"me\"] }",
        "guest.ssh_authorized_keys",
        "public SSH key",
    ),
    (
        "guest = { users = { \"a b\" = {} } }",
        "guest.users",
        "user of Linux",
    ),
    (
        "guest = { users = { ann = { ssh_authorized_keys = [\"x\"] } } }",
        "guest.users.ssh_authorized_keys",
        "public SSH key",
    ),
    (
        "guest = { users = { ann = { admin = \"so\" } } }",
        "guest.users.admin",
        "a bool is required",
    ),
    (
        "guest = { dns_servers = [\"dns\"] }",
        "guest.dns_servers",
        "IP address",
    ),
    (
        "guest = { dns_suffix = \"a..b\" }",
        "guest.dns_suffix",
        "DNS domain",
    ),
    (
        "guest = { domain_join = { domain = \"a.b\", username = \"u\", password_wo = \"p\", password_wo_version = 1 } }",
        "guest.domain_join",
        "Only Windows",
    ),
    ("cloud_init = 1", "cloud_init", "object required"),
    (
        "cloud_init = { user_data = [] }",
        "cloud_init.user_data",
        "string required",
    ),
    (
        "cloud_init = { user_data = \"a\", user_data_wo = \"b\", user_data_wo_version = 1 }",
        "cloud_init.user_data_wo",
        "keep one",
    ),
    (
        "cloud_init = { user_data_wo = \"b\" }",
        "cloud_init.user_data_wo_version",
        "set it to 1",
    ),
    (
        "cloud_init = { network_config = [] }",
        "cloud_init.network_config",
        "string required",
    ),
    (
        "cloud_init = { meta_data = [] }",
        "cloud_init.meta_data",
        "string required",
    ),
];

const WINDOWS: &[Bad] = &[
    (
        "domain = \"a..b\", username = \"u\"",
        "guest.domain_join.domain",
        "DNS domain",
    ),
    (
        "domain = \"a.b\", username = \"\"",
        "guest.domain_join.username",
        "user of a domain",
    ),
    (
        "domain = \"a.b\", username = \"u\"",
        "guest.domain_join.password_wo",
        "needs the password",
    ),
    (
        "domain = \"a.b\", username = \"u\", password_wo = \"p\"",
        "guest.domain_join.password_wo_version",
        "set it to 1",
    ),
    (
        "domain = \"a.b\", username = \"u\", ou = \"Lab\"",
        "guest.domain_join.ou",
        "distinguished name",
    ),
];

#[test]
fn what_no_guest_would_take_is_refused_at_its_attribute() {
    let terraform = Terraform::new().unwrap();
    let join = |words: &str| format!("guest = {{ os_family = \"windows\", domain_join = {{ {words} }} }}");
    let windows = WINDOWS.iter().map(|(words, at, says)| (join(words), *at, *says));
    let linux = LINUX
        .iter()
        .map(|(words, at, says)| ((*words).to_owned(), *at, *says));
    let nowhere = hcl::provider_of("", &[("lab1", "qemu:///system?socket=/nowhere/socket")]);
    for (words, at, says) in linux.chain(windows) {
        let machine = hcl::machine("web", format!("memory_mib = 64\n  {words}"));
        terraform.write("main.tf", &(nowhere.clone() + &machine)).unwrap();
        let run = terraform.run(&["validate", "-json"]).unwrap();
        let text = run.text().replace("\\\"", "\"");
        assert!(!run.succeeded(), "{words} was taken");
        assert!(text.contains(says), "{words}: {text}");
        let leaf = at.rsplit('.').next().unwrap();
        assert!(text.contains(leaf), "{words}: {text}");
        shows(&[&format!("labyard_vm.{at}")], Case::Refused);
    }
}

#[test]
fn a_plan_warns_of_user_data_that_take_over_and_refuses_what_cannot_be_combined() {
    let host = Host::shared();
    let terraform = &Terraform::new().unwrap();
    let machine = |words: &str| {
        hcl::on(host)
            + &hcl::machine(
                "told",
                format!("memory_mib = 64\n  power = \"stopped\"\n  {words}"),
            )
    };
    let over = machine(
        "guest = { admin_username = \"ops\" }\n  cloud_init = { user_data = \"#cloud-config\\nusers: []\\n\" }",
    );
    let plan = terraform.planned(&over);
    let warning = plan.run().warnings();
    assert_eq!(
        warning[0].summary,
        "Overruled by user data",
        "{}",
        plan.run().text()
    );
    let ignored = terraform.planned(&machine("cloud_init = { user_data = \"users: []\" }"));
    assert_eq!(
        ignored.run().warnings()[0].summary,
        "User data that cloud-init will ignore"
    );
    let both = machine(
        "guest = { os_family = \"windows\", admin_username = \"ops\" }\n  cloud_init = { user_data = \"#include\\nhttps://x\" }",
    );
    terraform.write("main.tf", &both).unwrap();
    let refused = terraform.plan(&[]).unwrap();
    let error = &refused.run().errors()[0];
    assert_eq!(error.summary, "User data that cannot be combined");
    assert!(error.detail.contains("#include"), "{}", error.detail);
}

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB ann@home";
const PASSWORD: &str = "correct horse";

fn guest() -> GuestConfig {
    GuestConfig {
        hostname: "web-01".into(),
        dns_suffix: None,
        admin: Admin::default(),
        users: BTreeMap::new(),
        dns_servers: Vec::new(),
        domain_join: None,
    }
}

fn whole() -> GuestConfig {
    let user = |rights| User {
        keys: vec![KEY.into()],
        rights,
    };
    GuestConfig {
        dns_suffix: Some("lab.test".into()),
        admin: Admin {
            name: Some("ops".into()),
            password: Some(Secret::new(PASSWORD)),
            keys: vec![KEY.into()],
        },
        users: [
            ("ann".to_owned(), user(Rights::Ordinary)),
            ("ansible".to_owned(), user(Rights::Admin)),
        ]
        .into(),
        dns_servers: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        ..guest()
    }
}

fn join() -> DomainJoin {
    DomainJoin {
        domain: "corp.test".into(),
        username: "CORP\\joiner".into(),
        password: Secret::new("it's \u{2019}secret\u{2019} $(x)"),
        ou: Some("OU=Lab,DC=corp,DC=test".into()),
    }
}

fn cards() -> Vec<Card> {
    let card = |key: &str, mac: &str, addressing| Card {
        key: NicKey(key.into()),
        mac: mac.parse().unwrap(),
        addressing,
    };
    let fixed = Addressing::Static {
        addresses: vec!["10.9.0.5/24".parse().unwrap(), "fd09::5/64".parse().unwrap()],
        gateway: Some("10.9.0.1".parse().unwrap()),
    };
    vec![
        card("lan", "52:54:00:00:00:01", Addressing::Dhcp),
        card("back", "52:54:00:00:00:0a", fixed),
    ]
}

fn made(family: OsFamily, guest: &GuestConfig, cards: &[Card], user_data: Option<&str>) -> Documents {
    documents(&Request {
        family,
        guest: Some(guest),
        cards,
        user_data,
        network_config: None,
        salt: Salt([7; 16]),
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

fn yaml(text: &str, head: &str) -> Value {
    serde_json::from_str(text.strip_prefix(head).unwrap()).unwrap()
}

fn vendor(guest: &GuestConfig) -> Value {
    let text = made(OsFamily::Linux, guest, &[], None).vendor_data.unwrap();
    yaml(&text, "#cloud-config\n")
}

fn network(family: OsFamily, guest: &GuestConfig, cards: &[Card]) -> Option<Value> {
    let text = made(family, guest, cards, None).network_config?;
    assert!(is_generated_network(&text));
    Some(yaml(&text, "# Made by labyard of guest and nics.\n"))
}

#[test]
fn a_password_is_hashed_so_that_crypt_knows_it_again() {
    let hash = crypt::sha512_crypt(&Secret::new("Hello world!"), Salt([1; 16])).unwrap();
    assert!(hash.starts_with("$6$rounds=50000$"), "{hash}");
    assert_eq!(hash.split('$').nth(3).unwrap().len(), 16, "{hash}");
    let other = crypt::sha512_crypt(&Secret::new("Hello world!"), Salt([2; 16])).unwrap();
    assert_ne!(hash, other, "another salt, another hash");
    let said = std::process::Command::new("openssl")
        .args(["passwd", "-6", "-salt"])
        .arg(format!("rounds=50000${}", hash.split('$').nth(3).unwrap()))
        .arg("Hello world!")
        .output();
    match said {
        Ok(said) => assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), hash),
        Err(error) => eprintln!("SKIPPED: openssl cannot be run ({error}), the hash is not compared"),
    }
}

#[test]
fn a_named_admin_takes_the_place_of_the_images_user() {
    let config = vendor(&whole());
    assert_eq!(config["hostname"], "web-01");
    assert_eq!(config["fqdn"], "web-01.lab.test");
    let names: Vec<_> = config["users"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| &u["name"])
        .collect();
    assert_eq!(names, ["ops", "ann", "ansible"]);
    let [ops, ann, ansible] = [0, 1, 2].map(|at| &config["users"][at]);
    assert!(ops["hashed_passwd"].as_str().unwrap().starts_with("$6$"));
    assert_eq!(ops["lock_passwd"], false);
    assert_eq!(ops["sudo"], "ALL=(ALL) NOPASSWD:ALL");
    assert_eq!(
        (&ann["lock_passwd"], &ann["sudo"]),
        (&Value::from(true), &Value::Null)
    );
    assert_eq!(ansible["ssh_authorized_keys"][0], KEY);
    assert_eq!(ansible["sudo"], ops["sudo"]);
}

#[test]
fn an_admin_without_a_name_is_the_user_of_the_image() {
    let mut config = whole();
    config.admin.name = None;
    config.users.clear();
    let config = vendor(&config);
    assert_eq!(config["users"], Value::Null, "the image's users stay as they are");
    assert_eq!(config["ssh_authorized_keys"][0], KEY);
    assert!(config["password"].as_str().unwrap().starts_with("$6$"));
    assert_eq!(config["chpasswd"]["expire"], false);
    let mut more = whole();
    more.admin = Admin::default();
    assert_eq!(vendor(&more)["users"][0], "default");
}

#[test]
fn no_password_stands_in_what_linux_is_given() {
    let documents = made(OsFamily::Linux, &whole(), &cards(), None);
    for text in [
        documents.vendor_data,
        documents.user_data,
        documents.network_config,
    ] {
        assert!(!text.unwrap_or_default().contains(PASSWORD));
    }
}

#[test]
fn user_data_of_linux_stay_as_they_were_written() {
    let documents = made(OsFamily::Linux, &whole(), &[], Some("#!/bin/sh\n"));
    assert_eq!(documents.user_data.as_deref(), Some("#!/bin/sh\n"));
    let without = documents_of_cloud_init_alone();
    assert_eq!(without.user_data.as_deref(), Some("#cloud-config\n"));
    assert!(without.vendor_data.is_none() && without.network_config.is_none());
}

fn documents_of_cloud_init_alone() -> Documents {
    documents(&Request {
        family: OsFamily::Linux,
        guest: None,
        cards: &cards()[..1],
        user_data: Some("#cloud-config\n"),
        network_config: None,
        salt: Salt([0; 16]),
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_network_is_described_only_where_there_is_something_to_say() {
    let plain = guest();
    assert_eq!(network(OsFamily::Linux, &plain, &cards()[..1]), None);
    let named = GuestConfig {
        dns_servers: vec!["10.0.0.1".parse().unwrap()],
        ..plain.clone()
    };
    assert_eq!(network(OsFamily::Linux, &named, &[]), None);
    assert!(network(OsFamily::Linux, &named, &cards()[..1]).is_some());
    assert!(network(OsFamily::Linux, &plain, &cards()).is_some());
}

#[test]
fn linux_finds_its_cards_by_their_macs() {
    let config = network(OsFamily::Linux, &whole(), &cards()).unwrap();
    assert_eq!(config["version"], 2);
    let (lan, back) = (&config["ethernets"]["lan"], &config["ethernets"]["back"]);
    assert_eq!(lan["match"]["macaddress"], "52:54:00:00:00:01");
    assert_eq!(lan["dhcp4"], true);
    assert_eq!(lan["dhcp4-overrides"]["use-dns"], false);
    assert_eq!(
        back["addresses"],
        serde_json::json!(["10.9.0.5/24", "fd09::5/64"])
    );
    assert_eq!(back["routes"][0]["to"], "0.0.0.0/0");
    assert_eq!(back["nameservers"]["addresses"][1], "fd00::1");
    assert_eq!(back["nameservers"]["search"][0], "lab.test");
}

#[test]
fn windows_is_told_of_fixed_addresses_in_version_1() {
    let config = network(OsFamily::Windows, &whole(), &cards()).unwrap();
    assert_eq!(config["version"], 1);
    let card = &config["config"][0];
    assert_eq!(
        (&card["name"], &card["mac_address"]),
        (&"back".into(), &"52:54:00:00:00:0a".into())
    );
    assert_eq!(card["subnets"][0]["gateway"], "10.9.0.1");
    assert_eq!(
        card["subnets"][1]["gateway"],
        Value::Null,
        "no IPv4 router for IPv6"
    );
    assert_eq!(network(OsFamily::Windows, &whole(), &cards()[..1]), None);
}

#[test]
fn windows_gets_its_users_plain_and_by_their_groups() {
    let documents = made(OsFamily::Windows, &whole(), &[], None);
    assert!(documents.vendor_data.is_none() && documents.public_keys.is_empty());
    let message = documents.user_data.unwrap();
    let users = mime::part(&message, "labyard-users.cfg").unwrap();
    let users = &yaml(&users, "#cloud-config\n")["users"];
    assert_eq!(
        (&users[0]["name"], &users[0]["passwd"]),
        (&"ops".into(), &PASSWORD.into())
    );
    assert_eq!(users[0]["groups"][0], "Administrators");
    assert_eq!(users[1]["groups"], Value::Null);
    assert!(!message.contains(PASSWORD), "every part is in base64");
}

#[test]
fn keys_of_nobody_go_to_the_user_that_the_images_cloudbase_init_knows() {
    let mut config = guest();
    config.admin.keys = vec![KEY.into()];
    let documents = made(OsFamily::Windows, &config, &[], Some("#ps1\n"));
    assert_eq!(documents.public_keys, [KEY]);
    assert_eq!(
        documents.user_data.as_deref(),
        Some("#ps1\n"),
        "nothing of ours is added"
    );
}

#[test]
fn the_script_for_windows_can_be_broken_out_of_by_no_value() {
    let config = GuestConfig {
        domain_join: Some(join()),
        ..whole()
    };
    let message = made(
        OsFamily::Windows,
        &config,
        &cards(),
        Some("<powershell>x</powershell>"),
    )
    .user_data
    .unwrap();
    let script = mime::part(&message, "labyard-guest.ps1").unwrap();
    assert!(script.starts_with("#ps1_sysnative\r\n"), "{script}");
    assert!(
        script.contains("'52-54-00-00-00-01', '52-54-00-00-00-0A'"),
        "{script}"
    );
    assert!(
        script.contains("Add-Computer @join") && script.contains("exit 1003"),
        "{script}"
    );
    assert!(
        !script.contains("secret") && !script.contains("joiner"),
        "{script}"
    );
    assert_eq!(script.matches('\'').count() % 2, 0);
    let position = |name: &str| message.find(&format!("filename=\"{name}\"")).unwrap();
    assert!(position("labyard-users.cfg") < position("labyard-guest.ps1"));
    assert!(position("labyard-guest.ps1") < position("user-data"));
}

#[test]
fn what_the_user_wrote_is_had_back_from_a_message_of_ours() {
    let config = whole();
    for written in [None, Some("#cloud-config\nntp: {}\n"), Some("rem cmd\r\ndir")] {
        let message = made(OsFamily::Windows, &config, &[], written).user_data.unwrap();
        assert_eq!(users_part(&message), Some(written.map(str::to_owned)));
    }
    for foreign in [
        "",
        "#cloud-config",
        "Content-Type: multipart/mixed; boundary=\"x\"\n\n--x--",
    ] {
        assert_eq!(users_part(foreign), None);
    }
}

#[test]
fn user_data_that_cloudbase_init_takes_in_no_part_are_refused_by_name() {
    for (text, name) in [
        ("## template: jinja\n#cloud-config", "a jinja template"),
        ("#include\nhttps://x", "#include"),
        ("MIME-Version: 1.0\n", "another MIME message"),
        ("#cloud-config-archive\n", "#cloud-config-archive"),
    ] {
        let said = combinable(OsFamily::Windows, text).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
        assert_eq!(combinable(OsFamily::Linux, text), Ok(()));
    }
    for text in [
        "#cloud-config\n",
        "#ps1\nx",
        "#!/usr/bin/env python\n",
        "<script>x</script>",
        "",
    ] {
        assert_eq!(combinable(OsFamily::Windows, text), Ok(()), "{text:?}");
    }
}

#[test]
fn what_user_data_take_over_is_known_beforehand() {
    let said = vm::Guest {
        admin_username: Some("ops".into()),
        dns_suffix: Some("lab.test".into()),
        ..vm::Guest::default()
    };
    let over = |text| overruled(&said, OsFamily::Linux, text);
    assert_eq!(over("#cloud-config\nusers: []\nfqdn: x\n").len(), 2);
    assert_eq!(over("#cloud-config\nwrite_files:\n  users: x\n"), []);
    assert_eq!(over("#!/bin/sh\nusers: x\n"), []);
    assert_eq!(
        overruled(&said, OsFamily::Windows, "#cloud-config\nusers: []\n"),
        []
    );
}

#[test]
fn no_secret_shows_in_debug_output() {
    let config = GuestConfig {
        domain_join: Some(join()),
        ..whole()
    };
    let shown = format!("{config:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("$(x)"), "{shown}");
}

proptest! {
    #[test]
    fn any_text_comes_back_from_a_part(text in "\\PC*", other in any::<String>()) {
        let parts = [("a", text.as_str()), ("b", other.as_str())];
        let parts: Vec<_> = parts
            .iter()
            .map(|(file_name, content)| mime::Part { content_type: "text/plain", file_name, content })
            .collect();
        let message = mime::write(&parts);
        prop_assert_eq!(mime::part(&message, "a"), Some(text));
        prop_assert_eq!(mime::part(&message, "b"), Some(other));
        prop_assert!(message.lines().all(|line| line.len() < 100));
    }
}

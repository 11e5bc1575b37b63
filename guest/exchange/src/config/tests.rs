use super::*;

fn full() -> Configuration {
    Configuration {
        dns_suffix: Some("lab.test".into()),
        admin_username: Some("ops".into()),
        admin_password: Some(Secret::new("pässword \"1\"")),
        ssh_authorized_keys: vec!["ssh-ed25519 AAAA ops@desk".into()],
        users: [(
            "ansible".to_owned(),
            User {
                password: Some(Secret::new("another")),
                ssh_authorized_keys: vec!["ssh-rsa BBBB".into()],
                admin: true,
            },
        )]
        .into(),
        nics: vec![Nic {
            mac: "00:15:5d:00:00:01".parse().unwrap(),
            ipv4: Some(FixedIpv4 {
                address: "10.77.0.10/24".parse().unwrap(),
                gateway: Some("10.77.0.1".parse().unwrap()),
            }),
        }],
        dns_servers: vec!["10.77.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        ..Configuration::named("web-01")
    }
}

fn joined() -> Configuration {
    Configuration {
        domain_join: Some(DomainJoin {
            domain: "corp.example".into(),
            username: "CORP\\joiner".into(),
            password: Secret::new("third"),
            ou: Some("OU=Lab,DC=corp,DC=example".into()),
        }),
        ..full()
    }
}

#[test]
fn a_configuration_comes_back_as_it_went() {
    for configuration in [Configuration::named("a"), full(), joined()] {
        let text = configuration.to_json().unwrap();
        assert_eq!(Configuration::from_json(&text), Ok(configuration));
    }
}

#[test]
fn its_words_are_those_of_a_resource() {
    let text: serde_json::Value = serde_json::from_slice(&joined().to_json().unwrap()).unwrap();
    assert_eq!(text["version"], 1);
    assert_eq!(text["users"]["ansible"]["admin"], true);
    assert_eq!(text["nics"][0]["ipv4"]["address"], "10.77.0.10/24");
    assert_eq!(text["domain_join"]["ou"], "OU=Lab,DC=corp,DC=example");
    let minimal = Configuration::named("a").to_json().unwrap();
    assert_eq!(minimal.as_slice(), b"{\"version\":1,\"hostname\":\"a\"}");
}

#[test]
fn another_version_is_refused_by_its_number_even_where_it_has_other_fields() {
    let error = Configuration::from_json(b"{\"version\":2,\"hostname\":[\"a\"],\"new\":1}").unwrap_err();
    assert_eq!(error, ConfigError::Version(2));
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn what_is_not_known_is_refused_without_being_quoted() {
    for text in [
        "{\"version\":1,\"hostname\":\"a\",\"hunter2\":1}",
        "{\"version\":1,\"hostname\":\"a\",\"admin_password\":{\"is\":\"hunter2\"}}",
        "{\"version\":1,\"hostname\":\"a\",\"nics\":[{\"mac\":\"hunter2\"}]}",
        "hunter2",
        "",
    ] {
        let error = Configuration::from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(error, ConfigError::Malformed { .. }), "{text}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn nothing_prints_a_secret() {
    let shown = format!("{:?}", joined());
    for secret in joined().secrets() {
        assert!(!shown.contains(secret.reveal()), "{shown}");
    }
    assert_eq!(joined().secrets().count(), 3);
}

#[test]
fn more_than_an_exchange_carries_is_refused() {
    let mut much = full();
    let key = format!("ssh-rsa {}", "A".repeat(10_000));
    much.ssh_authorized_keys = (0..7).map(|n| format!("{key} {n}")).collect();
    assert!(matches!(much.to_json(), Err(ConfigError::TooLong { .. })));
}

/// What the refusal names, and the change that leads to it.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Configuration));

/// What is wrong after a change.
fn wrong(family: Family, change: impl Fn(&mut Configuration)) -> String {
    let mut configuration = full();
    change(&mut configuration);
    configuration
        .check(family)
        .map_or_else(|why| why.to_string(), |()| "nothing".to_owned())
}

#[test]
fn what_both_families_take_is_taken() {
    assert_eq!(full().check(Family::Linux), Ok(()));
    assert_eq!(joined().check(Family::Windows), Ok(()));
}

#[test]
fn what_could_break_out_of_a_file_or_a_command_is_refused() {
    let linux = |change: &dyn Fn(&mut Configuration)| wrong(Family::Linux, change);
    let cases: [Case<'_>; 13] = [
        ("hostname", &|c| c.hostname = "a\nb".into()),
        ("hostname", &|c| c.hostname = "a.b".into()),
        ("hostname", &|c| c.hostname = String::new()),
        ("dns_suffix", &|c| c.dns_suffix = Some("lab.test\nx".into())),
        ("dns_suffix", &|c| c.dns_suffix = Some("lab..test".into())),
        ("users", &|c| c.admin_username = Some("ops:x".into())),
        ("users", &|c| c.admin_username = Some("-rf".into())),
        ("twice", &|c| c.admin_username = Some("ansible".into())),
        ("password", &|c| c.admin_password = Some(Secret::new("a\nroot:b"))),
        ("password", &|c| c.admin_password = Some(Secret::new(""))),
        ("key 1", &|c| {
            c.ssh_authorized_keys = vec!["ssh-rsa A\nssh-rsa B".into()];
        }),
        ("key 1", &|c| {
            c.ssh_authorized_keys = vec!["command=\"x\" ssh-rsa A".into()];
        }),
        ("domain_join", &|c| c.domain_join = joined().domain_join),
    ];
    for (expected, change) in cases {
        let found = linux(change);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn windows_has_rules_of_its_own() {
    let windows = |change: &dyn Fn(&mut Configuration)| wrong(Family::Windows, change);
    let cases: [Case<'_>; 4] = [
        ("hostname", &|c| c.hostname = "a-name-of-sixteen".into()),
        ("twice", &|c| c.admin_username = Some("Ansible".into())),
        ("admin_username", &|c| c.admin_username = None),
        ("domain_join", &|c| {
            let mut join = joined().domain_join.unwrap();
            join.ou = Some("OU=a\r\nb".into());
            c.domain_join = Some(join);
        }),
    ];
    for (expected, change) in cases {
        let found = windows(change);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn an_address_and_its_gateway_have_to_make_sense() {
    for (address, gateway) in [
        ("10.0.0.0/24", None),
        ("10.0.0.255/24", None),
        ("0.0.0.0/0", None),
        ("127.0.0.1/8", None),
        ("224.0.0.1/4", None),
        ("10.0.0.5/24", Some("10.0.1.1")),
        ("10.0.0.5/24", Some("10.0.0.5")),
    ] {
        let found = wrong(Family::Linux, |c| {
            c.nics[0].ipv4 = Some(FixedIpv4 {
                address: address.parse().unwrap(),
                gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            });
        });
        assert!(found.starts_with("nics"), "{address}: {found}");
    }
    let twice = wrong(Family::Linux, |c| c.nics.push(c.nics[0].clone()));
    assert!(twice.contains("twice"), "{twice}");
}

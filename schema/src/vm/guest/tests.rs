use super::*;
use crate::vm::{CloudInit, Disk, Image, Nic};

fn vm(guest: Guest) -> Vm {
    Vm {
        name: "web-01".into(),
        guest: Some(guest),
        ..Vm::default()
    }
}

fn paths(vm: &Vm) -> Vec<String> {
    vm.problems()
        .iter()
        .map(|p| p.to_string().split(": ").next().unwrap().to_owned())
        .collect()
}

fn windows() -> Guest {
    Guest {
        os_family: Some("windows".into()),
        ..Guest::default()
    }
}

fn user() -> GuestUser {
    GuestUser::default()
}

#[test]
fn the_family_is_read_off_the_begin_of_an_images_name() {
    use OsFamily::{Linux, Windows};
    for (source, family) in [
        ("https://x/Windows%20Server%202022.qcow2", Some(Windows)),
        ("file:/images/microsoft_windows-11.raw", Some(Windows)),
        ("file:windows.qcow2?x=debian", Some(Windows)),
        ("https://x/debian-12-genericcloud-amd64.qcow2", Some(Linux)),
        ("https://windows.example/Rocky_Linux-9.qcow2", Some(Linux)),
        ("file:/my-windows.raw", None),
    ] {
        assert_eq!(OsFamily::of_image(source), family, "{source}");
    }
}

#[test]
fn what_is_written_goes_before_the_images_name_and_linux_is_the_rest() {
    let disk = Disk {
        image: Some(Image {
            source: "file:/windows.raw".into(),
            sha256: None,
        }),
        ..Disk::default()
    };
    let mut vm = vm(Guest::default());
    assert_eq!(vm.os_family(), OsFamily::Linux);
    vm.disks = Some([("root".to_owned(), disk)].into());
    assert_eq!(vm.os_family(), OsFamily::Windows);
    vm.guest = Some(Guest {
        os_family: Some("linux".into()),
        ..Guest::default()
    });
    assert_eq!(vm.os_family(), OsFamily::Linux);
}

#[test]
fn names_are_held_to_what_the_family_takes() {
    let named = |family: &str, name: &str| Guest {
        os_family: Some(family.into()),
        admin_username: Some(name.into()),
        ..Guest::default()
    };
    for (family, good) in [("linux", "ops_1"), ("linux", "root"), ("windows", "Ann Lee")] {
        assert_eq!(paths(&vm(named(family, good))), [""; 0], "{good}");
    }
    for (family, bad) in [
        ("linux", "Ops"),
        ("linux", ""),
        ("linux", "a b"),
        ("linux", "1a"),
        ("windows", "a\\b"),
        ("windows", "a@b"),
        ("windows", ".."),
        ("windows", "far-too-long-for-a-user"),
    ] {
        assert_eq!(paths(&vm(named(family, bad))), ["guest.admin_username"], "{bad}");
    }
    let users = Guest {
        users: Some([("Bad Name".to_owned(), user())].into()),
        ..Guest::default()
    };
    assert_eq!(paths(&vm(users)), ["guest.users[\"Bad Name\"]"]);
}

#[test]
fn a_host_name_that_windows_would_cut_is_refused() {
    let long = Vm {
        name: "a-rather-long-name".into(),
        ..vm(windows())
    };
    assert_eq!(paths(&long), ["guest.hostname"]);
    let said = Guest {
        hostname: Some("short".into()),
        ..windows()
    };
    assert_eq!(
        paths(&Vm {
            name: long.name,
            ..vm(said)
        }),
        [""; 0]
    );
}

#[test]
fn nobody_and_nothing_is_said_twice() {
    let key = "ssh-ed25519 AAAA".to_owned();
    let twice = Guest {
        admin_username: Some("ops".into()),
        ssh_authorized_keys: Some(vec![key.clone(), key.clone()]),
        users: Some(
            [
                ("ops".to_owned(), user()),
                (
                    "ann".to_owned(),
                    GuestUser {
                        ssh_authorized_keys: Some(vec![key.clone(), key]),
                        admin: false,
                    },
                ),
            ]
            .into(),
        ),
        dns_servers: Some(vec!["10.0.0.1".into(), "10.0.0.1".into()]),
        ..Guest::default()
    };
    let mut machine = vm(twice);
    machine.nics = Some([("lan".to_owned(), Nic::default())].into());
    assert_eq!(
        paths(&machine),
        [
            "guest.users[\"ops\"]",
            "guest.ssh_authorized_keys",
            "guest.users[\"ann\"].ssh_authorized_keys",
            "guest.dns_servers"
        ]
    );
    let spelled = Guest {
        users: Some([("Ann".to_owned(), user()), ("ann".to_owned(), user())].into()),
        ..windows()
    };
    assert_eq!(paths(&vm(spelled)), ["guest.users[\"ann\"]"]);
}

#[test]
fn passwords_go_with_their_versions_and_a_name() {
    let secret = || Some(Secret::new("hunter2"));
    let unversioned = Guest {
        admin_password_wo: secret(),
        ..Guest::default()
    };
    assert_eq!(paths(&vm(unversioned)), ["guest.admin_password_wo_version"]);
    let hollow = Guest {
        admin_password_wo_version: Some(1),
        ..Guest::default()
    };
    assert_eq!(paths(&vm(hollow)), ["guest.admin_password_wo"]);
    let nobodys = Guest {
        admin_password_wo: secret(),
        admin_password_wo_version: Some(1),
        ..windows()
    };
    assert_eq!(paths(&vm(nobodys)), ["guest.admin_username"]);
}

#[test]
fn an_unusable_password_is_refused_without_being_shown() {
    for (family, text) in [
        ("linux", "hunter2\n"),
        ("windows", "a-password-of-21-chars"),
        ("linux", ""),
    ] {
        let guest = Guest {
            os_family: Some(family.into()),
            admin_username: Some("ops".into()),
            admin_password_wo: Some(Secret::new(text)),
            admin_password_wo_version: Some(1),
            ..Guest::default()
        };
        let problems = vm(guest).problems();
        assert_eq!(problems.len(), 1, "{text:?}");
        let said = problems[0].to_string();
        assert!(said.starts_with("guest.admin_password_wo: "), "{said}");
        assert!(text.is_empty() || !said.contains(text.trim()), "{said}");
    }
}

#[test]
fn only_windows_joins_a_domain_and_needs_a_password_for_it() {
    let join = DomainJoin {
        domain: "corp.test".into(),
        username: "joiner".into(),
        ..DomainJoin::default()
    };
    let guest = |family: Guest, join: DomainJoin| Guest {
        domain_join: Some(join),
        ..family
    };
    let whole = DomainJoin {
        password_wo: Some(Secret::new("x")),
        password_wo_version: Some(1),
        ..join.clone()
    };
    assert_eq!(paths(&vm(guest(windows(), whole.clone()))), [""; 0]);
    assert_eq!(paths(&vm(guest(Guest::default(), whole))), ["guest.domain_join"]);
    assert_eq!(
        paths(&vm(guest(windows(), join))),
        ["guest.domain_join.password_wo"]
    );
}

#[test]
fn dns_servers_need_a_card_and_one_place() {
    let guest = Guest {
        dns_servers: Some(vec!["10.0.0.1".into()]),
        ..Guest::default()
    };
    let mut machine = vm(guest);
    assert_eq!(paths(&machine), ["guest.dns_servers"]);
    machine.nics = Some([("lan".to_owned(), Nic::default())].into());
    assert_eq!(paths(&machine), [""; 0]);
    machine.cloud_init = Some(CloudInit {
        network_config: Some("version: 2".into()),
        ..CloudInit::default()
    });
    assert_eq!(paths(&machine), ["guest.dns_servers"]);
}

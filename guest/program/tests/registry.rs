//! The real program on the registry, against our side of the exchange. Under Wine alone (`tests/under-wine/run`): on a
//! Windows it would configure that one.

#![cfg(windows)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use labyard_exchange::config::{DomainJoin, FixedIpv4, Nic};
use labyard_exchange::host::{Ended, Status};
use labyard_exchange::rand_core::UnwrapErr;
use labyard_exchange::{Action, Configuration, Deadlines, Exchange, Host, Items, Secret};
use windows_registry::{Key, LOCAL_MACHINE};

const VM: &str = "7D0D9A2C-6F3B-4E6B-8C52-0F1E2D3C4B5A";
const PASSWORD: &str = "sentinel-7c1e \"$(quoted)\"";
const JOIN: &str = "sentinel-7c1e-join";
const LOG: &str = "C:\\powershell.log";

fn configuration() -> Configuration {
    Configuration {
        admin_username: Some("ops".into()),
        admin_password: Some(Secret::new(PASSWORD)),
        nics: vec![Nic {
            mac: "00:15:5d:00:00:01".parse().unwrap(),
            ipv4: Some(FixedIpv4 {
                address: "10.77.0.10/24".parse().unwrap(),
                gateway: None,
            }),
        }],
        domain_join: Some(DomainJoin {
            domain: "corp.example".into(),
            username: "CORP\\joiner".into(),
            password: Secret::new(JOIN),
            ou: None,
        }),
        ..Configuration::named("web-01")
    }
}

fn key(path: &str) -> Key {
    LOCAL_MACHINE
        .create(format!("SOFTWARE\\Microsoft\\Virtual Machine\\{path}"))
        .unwrap()
}

fn texts(key: &Key) -> Vec<(String, String)> {
    key.values()
        .unwrap()
        .map(|(name, value)| (name, String::try_from(value).unwrap()))
        .collect()
}

fn carry(external: &Key, actions: &[Action]) {
    for action in actions {
        match action {
            Action::Put(items) => {
                for item in items {
                    external.set_string(&item.key, &item.text).unwrap();
                }
            }
            Action::Remove(keys) => {
                for name in keys {
                    external.remove_value(name).unwrap();
                }
            }
            _ => {}
        }
    }
}

/// Our side, to its end.
fn exchange(external: &Key, guest: &Key) -> Ended {
    let began = Instant::now();
    let exchange = Exchange::draw(VM.parse().unwrap(), &mut UnwrapErr(SysRng));
    let (mut host, actions) =
        Host::begin(exchange, &configuration(), Deadlines::default(), Duration::ZERO).unwrap();
    carry(external, &actions);
    loop {
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", host.status());
        let seen = Items::of_texts(texts(guest));
        for (name, text) in texts(guest).into_iter().chain(texts(external)) {
            assert!(!text.contains("sentinel-7c1e"), "{name} holds a password");
        }
        let (next, actions) = host.step(began.elapsed(), &seen, &mut UnwrapErr(SysRng));
        carry(external, &actions);
        if let Status::Ended(ended) = next.status() {
            return ended.clone();
        }
        host = next;
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_guest_is_told_through_the_registry_and_secrets_go_to_the_scripts_input_alone() {
    if std::env::var("LABYARD_WINE").as_deref() != Ok("1") {
        eprintln!(
            "SKIPPED: this would configure the running Windows; tests/under-wine/run runs it under Wine"
        );
        assert!(std::env::var("CI").as_deref() != Ok("true"));
        return;
    }
    let (external, guest) = (key("External"), key("Guest"));
    key("Guest\\Parameters")
        .set_string("VirtualMachineId", VM)
        .unwrap();
    guest.set_string("SomebodyElses", "value").unwrap();
    let _ = fs::remove_file(LOG);
    let program = Command::new(env!("CARGO_BIN_EXE_labyard-guest"))
        .args(["run", "--once", "--ledger", "C:\\over"])
        .spawn()
        .unwrap();
    assert_eq!(exchange(&external, &guest), Ended::Done);
    assert!(program.wait_with_output().unwrap().status.success());
    assert_eq!(texts(&external), []);
    assert_eq!(texts(&guest), [("SomebodyElses".to_owned(), "value".to_owned())]);

    let log = fs::read_to_string(LOG).unwrap();
    let lines: Vec<_> = log.lines().collect();
    let scripts = [
        include_str!("../src/windows/scripts/hostname.ps1"),
        include_str!("../src/windows/scripts/users.ps1"),
        include_str!("../src/windows/scripts/network.ps1"),
        include_str!("../src/windows/scripts/domain.ps1"),
    ];
    assert_eq!(lines.len(), 2 * scripts.len(), "{log}");
    for (call, script) in lines.chunks(2).zip(scripts) {
        let encoded = call[0].rsplit(' ').next().unwrap();
        let bytes: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(encoded, STANDARD.encode(bytes), "{}", call[0]);
        assert!(!call[0].contains("sentinel"), "{}", call[0]);
    }
    let users: serde_json::Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!(users["users"][0]["password"], PASSWORD);
    let join: serde_json::Value = serde_json::from_str(lines[7]).unwrap();
    assert_eq!(join["password"], JOIN);
}

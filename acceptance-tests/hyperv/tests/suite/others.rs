//! Programs that others wrote, as clients: pypsrp and pywinrm (sealed NTLM, bound logins), wsl (shell and curl).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use labyard_hyperv_double::model::{Host, Setup};
use labyard_hyperv_double::schema::Build;
use labyard_hyperv_double::wire::{Config, Hardening, Server, Unencrypted, User};

use crate::raw::{PASSWORD, USER, with};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Says that a program is missing.
fn skipped(what: &str) {
    eprintln!("SKIPPED: {what}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "CI needs it");
}

/// The certificate of a server as a file, in a directory.
fn certificate(server: &Server, directory: &Path) -> PathBuf {
    let file = directory.join("host.pem");
    std::fs::write(&file, server.certificate().unwrap()).unwrap();
    file
}

/// Runs a script against a server.
async fn run(python: &Path, script: &str, server: &Server) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(python);
    command
        .arg(format!("{SCRIPTS}/{script}"))
        .arg(server.http().unwrap().port().to_string())
        .arg(server.https().unwrap().port().to_string())
        .arg(certificate(server, directory.path()))
        .arg(PASSWORD)
        .env("NO_PROXY", "*")
        .env("OPENSSL_CONF", format!("{SCRIPTS}/md4.cnf"));
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn said(output: &Output, line: &str) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success() && out.contains(line), "{out}\n{err}");
}

/// The model behind the wire, and the directory that is its drive.
async fn whole_host(change: impl FnOnce(&mut Config)) -> (Server, Host, tempfile::TempDir) {
    let drive = tempfile::tempdir().unwrap();
    let mut config = Config::new(vec![User::administrator(USER, PASSWORD)]);
    config.build = Build::Server23h2;
    change(&mut config);
    let mut setup = Setup::server(drive.path());
    setup.computer.clone_from(&config.name);
    let host = Host::new(setup);
    let server = Server::start(config, Box::new(host.clone())).await.unwrap();
    (server, host, drive)
}

#[tokio::test(flavor = "multi_thread")]
async fn pypsrp_lives_through_the_life_of_a_machine() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hyperv-clients/bin/python");
    if !python.exists() {
        return skipped("pypsrp is not there (acceptance-tests/hyperv/tests/clients/install brings it)");
    }
    let (server, _host, _drive) = whole_host(|config| config.hardening = Hardening::Strict).await;
    said(&run(&python, "with_pypsrp.py", &server).await, "pypsrp: done");
    assert_eq!(server.complaints(), [""; 0]);
    let calls = |method: &str| {
        server
            .log()
            .iter()
            .filter(|entry| entry.method == method && entry.fault == 0)
            .count()
    };
    assert_eq!(
        (calls("DefineSystem"), calls("DestroySystem")),
        (3, 3),
        "NTLM, SPNEGO, TLS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pywinrm_seals_and_binds_its_logins() {
    let python = Path::new("/usr/bin/python3");
    let there = Command::new(python).args(["-c", "import winrm"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        return skipped("pywinrm is not installed (Debian: python3-winrm)");
    }
    let server = with(2, |config| config.hardening = Hardening::Strict).await;
    said(&run(python, "with_pywinrm.py", &server).await, "pywinrm: done");
    assert_eq!(
        server.count("Enumerate"),
        7,
        "five sealed, one refused, one over TLS"
    );
}

/// Runs wsl, and gives what the service answered it.
fn wsl(server: &Server, arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("wsl")
        .args(arguments)
        .current_dir(directory.path())
        .env("HOME", directory.path())
        .env("TERM", "dumb")
        .env("NO_PROXY", "*")
        .env("WSAUTOMATED", "1")
        .env("WSNOSSL", "true")
        .env("WSENDPOINT", server.http().unwrap().to_string())
        .env("WSUSER", "wsl")
        .env("WSPASS", "plain")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn wsl_identifies_enumerates_and_gets() {
    let missing = ["wsl", "curl", "uuidgen", "xmllint"].into_iter().find(|program| {
        !std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|path| path.join(program).exists())
    });
    if let Some(program) = missing {
        return skipped(&format!(
            "{program} is not installed (Debian: wsl, curl, uuid-runtime, libxml2-utils)"
        ));
    }
    let (server, _host, _drive) = whole_host(|config| {
        config.offers.basic = true;
        config.unencrypted = Unencrypted::Allowed;
        config.users.push(User::administrator("wsl", "plain"));
    })
    .await;
    let all = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/virtualization/v2";
    let machines = &*format!("{all}/Msvm_ComputerSystem");
    let (every, dialect) = (
        &*format!("{all}/*"),
        "http://schemas.microsoft.com/wbem/wsman/1/WQL",
    );
    let (key, name) = ("CreationClassName=Msvm_ComputerSystem", "Name=HV7");
    let service = &*format!("{all}/Msvm_VirtualSystemManagementService");
    let cases: [(&[&str], &[&str]); 9] = [
        (&["identify", "check"], &["Microsoft Corporation", "OS: 10.0."]),
        (&["enum", machines], &["<p:ElementName>HV7<", "EndOfSequence"]),
        (
            &["enum", machines, "-mode", "epr"],
            &["<a:EndpointReference>", ">HV7</w:Selector>"],
        ),
        (
            &["enum", machines, "-mode", "objepr"],
            &["<w:Item>", "<p:ElementName>HV7<", "<a:EndpointReference>"],
        ),
        (
            &[
                "enum",
                every,
                "-dialect",
                dialect,
                "-filter",
                "SELECT Name FROM Msvm_ComputerSystem",
            ],
            &["<w:XmlFragment", "<Name>HV7</Name>"],
        ),
        (
            &["enum", every, "-dialect", "u", "-filter", "x"],
            &["n:FilterDialectRequestedUnavailable"],
        ),
        (
            &["get", machines, key, name],
            &["GetResponse", "<p:ElementName>HV7<"],
        ),
        (&["get", machines, name], &["a:DestinationUnreachable"]),
        // It pastes a SelectorSet without its prefix: what is not well-formed is refused, and breaks nothing.
        (&["invoke", "-m", "DefineSystem", service], &["s:Fault"]),
    ];
    tokio::task::block_in_place(|| {
        for (arguments, wanted) in cases {
            let answer = wsl(&server, arguments);
            let missing: Vec<_> = wanted.iter().filter(|part| !answer.contains(**part)).collect();
            assert!(
                missing.is_empty(),
                "wsl {arguments:?}: no {missing:?} in\n{answer}"
            );
        }
    });
    assert_eq!(server.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_the_model_keeps_to_the_schema() {
    use crate::raw::{ask, wql};
    for build in [Build::Server2019, Build::Server23h2] {
        let (server, _host, _drive) = whole_host(|config| {
            config.build = build;
            config.offers.basic = true;
            config.unencrypted = Unencrypted::Allowed;
        })
        .await;
        for class in [
            "CIM_ManagedElement",
            "CIM_Dependency",
            "CIM_Component",
            "CIM_ElementSettingData",
        ] {
            let answer = ask(
                &server,
                &wql("root/virtualization/v2", &format!("SELECT * FROM {class}")),
            )
            .await;
            assert_eq!(answer.status, 200, "{class}: {:.600}", answer.body);
        }
        assert_eq!(server.complaints(), [""; 0]);
    }
}

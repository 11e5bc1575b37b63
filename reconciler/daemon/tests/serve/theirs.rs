//! Machines that others made or changed on a host: what they do is seen, and theirs are left alone until they are taken over.

use crate::{
    daemon::{Daemon, until_within},
    machines::{LAB, WEB, get, made, network},
    working::put,
};
use labyard_driver::{
    ids::Mib,
    mark::Mark,
    spec::{Accelerator, CpuSpec, Firmware, Graphics, MachineSpec, MachineType},
};
use labyard_driver_sim::{ForeignHand, ServeOptions, Server, Settings, SimHost};
use labyard_store::testing::Database;
use serde_json::json;

/// A simulated host in this process, on which others have made a machine.
pub(crate) struct Theirs {
    directory: tempfile::TempDir,
    pub(crate) host: SimHost,
}

impl Theirs {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("host");
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let options = ServeOptions {
                    socket,
                    state: None,
                    settings: Settings::default(),
                };
                let server = Server::bind(options).unwrap();
                send.send(server.host().clone()).unwrap();
                server.run(std::future::pending()).await.unwrap();
            });
        });
        let host = receive.recv().unwrap();
        let hand = ForeignHand::AddMachine(Box::new(theirs()));
        host.by_other_hand(&hand).unwrap();
        Self { directory, host }
    }

    pub(crate) fn lines(&self) -> String {
        let socket = self.directory.path().join("host");
        format!("[hosts.lab1]\nsim = {{ socket = \"{}\" }}\n", socket.display())
    }
}

fn theirs() -> MachineSpec {
    let mark = r#"{"version": 1, "namespace": "none", "kind": "machine", "name": "theirs", "token": "t",
                   "origin": "t", "ownership": "building", "stage": "record"}"#;
    MachineSpec {
        id: "2c4a7d1e-0000-4000-8000-00000000beef".into(),
        host_name: "theirs".to_owned(),
        mark: Mark::parse(mark).unwrap(),
        cpus: 1,
        cpus_max: None,
        memory: Mib(128),
        memory_max: None,
        accelerator: Accelerator::Qemu,
        firmware: Firmware::Bios,
        guards: Default::default(),
        nvram: None,
        boot_order: Vec::new(),
        machine_type: MachineType::Q35,
        cpu: CpuSpec::default(),
        graphics: Graphics::None,
        serial: None,
        direct_boot: None,
        seed: None,
        media: Vec::new(),
        nics: Vec::new(),
        disks: Vec::new(),
    }
}

#[test]
fn what_a_hand_does_on_a_host_is_seen_by_the_next_who_asks() {
    let (database, others) = (Database::sqlite(), Theirs::start());
    let daemon = Daemon::start(&database, &others.lines());
    made(&daemon, LAB, &network());
    let power = |path: &str| get(&daemon, path).body["power"].clone();
    let asked = json!({"attributes": {"memory_mib": 128, "nics": {"lan": {"network": "lab"}}, "ready": {"wait": "none"}}});
    let id = made(&daemon, WEB, &asked)["result"]["view"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(power(WEB), "running");
    others
        .host
        .by_other_hand(&ForeignHand::Kill(id.as_str().into()))
        .unwrap();
    // Who asks within the same moment may share the look of before.
    until_within("it is seen", 3, || (power(WEB) == "stopped").then_some(()));
}

#[test]
fn a_machine_that_others_made_is_left_alone_until_it_is_taken_over_by_wish() {
    let (database, others) = (Database::sqlite(), Theirs::start());
    let daemon = Daemon::start(&database, &others.lines());
    let path = "/v1/vms/lab1/theirs";
    let before = format!("{:?}", others.host.look().machines);
    let asked = json!({"attributes": {"memory_mib": 256, "power": "stopped"}});
    let refused = put(&daemon, path, &asked, &[]);
    assert_eq!(
        (refused.status, refused.problem()),
        (409, "not-ours"),
        "{refused:?}"
    );
    let kept = daemon.ask("DELETE", path, &daemon.admin, &[]);
    assert_eq!((kept.status, kept.problem()), (409, "not-ours"), "{kept:?}");
    assert_eq!(format!("{:?}", others.host.look().machines), before);
    // Who sees one namespace does not see what is nobody's.
    let other = daemon.token("physics", "admin", &["physics"]);
    let unseen = daemon.ask("GET", "/v1/vms", &other, &[]);
    assert_eq!(unseen.body["items"], json!([]));
    assert_eq!(get(&daemon, "/v1/vms").body["items"][0]["owned"], json!(false));

    let file = daemon.directory.path().join("theirs.json");
    std::fs::write(&file, asked["attributes"].to_string()).unwrap();
    let adopted = daemon.cli(
        &daemon.admin,
        &[
            "vm",
            "adopt",
            "lab1/theirs",
            "--attributes",
            file.to_str().unwrap(),
        ],
    );
    assert!(adopted.status.success(), "{adopted:?}");
    let shown = get(&daemon, path).body;
    assert_eq!(
        (&shown["owned"], &shown["memory_mib"]),
        (&json!(true), &json!(256)),
        "{shown}"
    );
}

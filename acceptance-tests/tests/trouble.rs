//! Hosts and guests that hang, die or are others than they were: an error within a bound, the state as it was, and
//! nobody else held up.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::{Daemon, Host};
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::terraform::{Plan, Terraform};
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::whole::{lab, machine, write_image};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const PLAN: &[&str] = &["plan", "-json", "-input=false"];

struct Scene<'h> {
    terraform: Terraform<'h>,
    image: String,
    files: TempDir,
}

impl<'h> Scene<'h> {
    /// The network `lab` and the stopped machine `web` stand.
    fn new(host: &'h Host) -> Self {
        let files = TempDir::new().unwrap();
        let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
        let scene = Self {
            terraform: Terraform::new().unwrap(),
            image,
            files,
        };
        scene.reach(&host.uri());
        scene.terraform.apply(&[]).unwrap().expect_success();
        scene
    }

    /// From now on the host is reached there.
    fn reach(&self, uri: &str) {
        let config = hcl::provider_of("", &[("lab1", uri)]) + &lab(&self.image, &["web"]);
        self.terraform.write("main.tf", &config).unwrap();
    }

    /// A plan fails in time, in words, and nothing is lost from the state.
    #[track_caller]
    fn assert_error(&self, why: &str, words: &[&str]) {
        let state = self.terraform.state_text();
        let failed = self.terraform.run(PLAN).unwrap().expect_failure();
        assert!(failed.took() < SOON, "{why}: {:?}", failed.took());
        let said: String = failed.errors().iter().map(|one| one.text() + "\n").collect();
        for word in words {
            assert!(said.contains(word), "{why}: no {word:?} in:\n{said}");
        }
        assert_eq!(self.terraform.state_text(), state, "{why}");
        let kept = self.terraform.attributes("labyard_vm.web").unwrap();
        assert!(kept.is_some_and(|web| web["power"] == "stopped"), "{why}");
    }
}

#[test]
fn a_daemon_that_hangs_is_an_error_within_a_bound() {
    let host = Host::start().unwrap();
    let scene = Scene::new(&host);
    host.daemon(Daemon::Stop).unwrap();
    scene.assert_error("libvirtd hangs", &["lab1"]);
    host.daemon(Daemon::Continue).unwrap();
    scene.terraform.plan(&[]).unwrap().expect_empty();
}

#[test]
fn a_daemon_that_dies_while_a_plan_waits_for_it_is_an_error() {
    let host = Host::start().unwrap();
    let scene = Scene::new(&host);
    let state = scene.terraform.state_text();
    host.daemon(Daemon::Stop).unwrap();
    let waiting = scene.terraform.start(PLAN).unwrap();
    until("the provider", SOON, || {
        Ok(match waiting.provider() {
            Some(_) => Look::Holds(()),
            None => Look::NotYet("none".into()),
        })
    })
    .unwrap();
    host.daemon(Daemon::Kill).unwrap();
    let failed = waiting.end().unwrap().expect_failure();
    assert!(failed.took() < SOON, "{:?}", failed.took());
    assert_eq!(scene.terraform.state_text(), state);
    // Nobody listens now; nor does it ever where the address is wrong.
    scene.assert_error("libvirtd is gone", &["lab1"]);
    scene.reach("qemu:///system?socket=/nonexistent/libvirt-sock");
    scene.assert_error("no such socket", &["lab1", "/nonexistent/libvirt-sock"]);
    scene.reach(&host.uri());
    host.daemon(Daemon::Start).unwrap();
    scene.terraform.plan(&[]).unwrap().expect_empty();
}

/// Stands before a host's socket and cuts every line after so many messages of libvirtd's.
struct Cutter {
    socket: PathBuf,
    passed: Arc<AtomicUsize>,
}

impl Cutter {
    fn start(socket: PathBuf, host: &Host, after: usize) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let passed = Arc::new(AtomicUsize::new(0));
        let (behind, count) = (host.directory().join("libvirt-sock"), passed.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), behind, count) = (client, behind.clone(), count.clone()) else {
                    continue;
                };
                std::thread::spawn(move || drop(pass(&client, &behind, &count, after)));
            }
        });
        Self { socket, passed }
    }

    fn uri(&self) -> String {
        format!("qemu:///system?socket={}", self.socket.display())
    }

    fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }
}

fn pass(client: &UnixStream, behind: &Path, passed: &AtomicUsize, after: usize) -> std::io::Result<()> {
    let server = UnixStream::connect(behind)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ends_with_either = std::io::copy(&mut from, &mut to);
        let _may_be_closed = to.shutdown(Shutdown::Both);
    });
    let (mut from, mut to) = (&server, client);
    loop {
        // A message begins with its length in four bytes, themselves included.
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length).saturating_sub(4) as usize];
        from.read_exact(&mut message)?;
        if passed.fetch_add(1, Ordering::SeqCst) >= after {
            client.shutdown(Shutdown::Both)?;
            return server.shutdown(Shutdown::Both);
        }
        to.write_all(&length)?;
        to.write_all(&message)?;
    }
}

#[test]
fn a_line_that_breaks_anywhere_in_a_refresh_never_empties_a_state() {
    let host = Host::start().unwrap();
    let scene = Scene::new(&host);
    let cutter = |after: usize| {
        let socket = scene.files.path().join(format!("cut-{after}"));
        Cutter::start(socket, &host, after)
    };
    let whole = cutter(usize::MAX);
    scene.reach(&whole.uri());
    scene.terraform.plan(&[]).unwrap().expect_empty();
    let messages = whole.passed();
    assert!(messages > 10, "a refresh of {messages} messages");
    for sixth in 0..6 {
        let after = messages * sixth / 6;
        scene.reach(&cutter(after).uri());
        scene.assert_error(&format!("cut after {after} of {messages} messages"), &["lab1"]);
    }
}

/// `hung` runs on QEMU alone; `web` is stopped.
fn with_a_running_guest(scene: &Scene<'_>, host: &Host) -> String {
    let running = hcl::machine(
        "hung",
        format!(
            "memory_mib = 96\n  disks = {{ root = {{ image = {} }} }}\n  ready = {{ wait = \"none\" }}\n  \
             shutdown = {{ mode = \"force\" }}\n  nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n  {}",
            hcl::image(),
            hcl::boot("")
        ),
    );
    hcl::on(host) + &lab(&scene.image, &["web"]) + &running
}

#[track_caller]
fn assert_quick(plan: &Plan, limit: Duration) {
    let took = plan.run().took();
    assert!(took < limit, "{took:?}:\n{}", plan.run().text());
}

#[test]
fn a_guest_that_hangs_holds_up_nobody_and_can_be_destroyed() {
    let host = Host::start().unwrap();
    let scene = Scene::new(&host);
    let terraform = &scene.terraform;
    terraform
        .write("main.tf", &with_a_running_guest(&scene, &host))
        .unwrap();
    terraform.apply(&[]).unwrap().expect_success();
    let state = terraform.state_text();
    let qemu = host.guest_process("hung").unwrap().expect("it runs");
    processes::send(Signal::Stop, qemu).unwrap();

    let others = terraform.plan(&["-target=labyard_vm.web"]).unwrap();
    assert_quick(&others, Duration::from_secs(20));
    others.expect_empty();
    let all = terraform.plan(&[]).unwrap();
    assert_quick(&all, Duration::from_secs(40));
    if all.run().succeeded() {
        // What it does not say stays as it was.
        all.expect_empty();
    } else {
        let errors = all.run().errors();
        assert!(
            errors.iter().all(|one| one.text().contains("hung")),
            "{}",
            all.run().text()
        );
    }
    assert_eq!(terraform.state_text(), state);

    let config = hcl::on(&host) + &lab(&scene.image, &["web"]);
    terraform.write("main.tf", &config).unwrap();
    // Its mark is enough to remove it; nothing has to be read of it.
    let removed = terraform.apply(&["-refresh=false"]).unwrap().expect_success();
    assert!(removed.took() < SOON, "{:?}", removed.took());
    assert_eq!(host.guest_process("hung").unwrap(), None);
    terraform.plan(&[]).unwrap().expect_empty();
}

#[test]
fn machines_of_one_host_are_not_gone_because_another_answers_in_its_place() {
    let (host, other) = (Host::start().unwrap(), Host::start().unwrap());
    let scene = Scene::new(&host);
    let empty = other.inventory().unwrap();
    scene.reach(&other.uri());
    scene.assert_error("another host", &["lab1", "another host"]);
    scene.terraform.apply(&[]).unwrap().expect_failure();
    scene.terraform.destroy(&[]).unwrap().expect_failure();
    let changes = empty.changes_to(&other.inventory().unwrap());
    assert!(changes.is_empty(), "made on the wrong host:\n{changes}");
    scene.reach(&host.uri());
    scene.terraform.plan(&[]).unwrap().expect_empty();
}

#[test]
fn a_machine_that_does_not_fit_beside_the_others_is_named_and_the_others_stand() {
    let host = Host::start().unwrap();
    let scene = Scene::new(&host);
    let nowhere = machine("lost", &scene.image, "\"nowhere\"", "");
    let config = hcl::on(&host) + &lab(&scene.image, &["web", "app"]) + &nowhere;
    scene.terraform.write("main.tf", &config).unwrap();
    let failed = scene.terraform.apply(&[]).unwrap().expect_failure();
    let said = failed.errors().iter().map(|one| one.text()).collect::<String>();
    assert!(
        said.contains("nowhere") && said.contains("nics[\"lan\"].network"),
        "{said}"
    );
    for address in ["labyard_vm.web", "labyard_vm.app"] {
        assert!(
            scene.terraform.attributes(address).unwrap().is_some(),
            "{address}"
        );
    }
}

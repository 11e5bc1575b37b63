//! Hosts on other machines: by SSH and by TLS, in all the ways in which that goes wrong; and what a refresh costs over a
//! long way. The other machine is a private host with an SSH server in it; a relay reaches it from outside.

use labyard_acceptance_tests::command::{end_of, output_of};
use labyard_acceptance_tests::far::{Far, Way, ssh, tls};
use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::TLS_PORT;
use labyard_acceptance_tests::relay::{Relay, Silence};
use labyard_acceptance_tests::seed::KeyPair;
use labyard_acceptance_tests::sshd::{self, Sshd};
use labyard_acceptance_tests::terraform::Terraform;
use labyard_acceptance_tests::tls::{Authority, For, Showing};
use labyard_driver::ids::{PoolName, VolumeName};
use labyard_driver::{Driver, DriverError};
use labyard_driver_libvirt::{AcceleratorChoice, LibvirtConfig, LibvirtDriver};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Connecting to a host that hangs is given up after 20 s.
const GIVEN_UP: Duration = Duration::from_secs(40);
const MACHINES: usize = 50;
const REFRESHES: u32 = 4;
const WAY: Duration = Duration::from_millis(25);

/// What all tests here share.
struct Scene {
    far: Far,
    ssh: Relay,
    tls: Relay,
}

impl Deref for Scene {
    type Target = Far;

    fn deref(&self) -> &Far {
        &self.far
    }
}

impl Scene {
    fn get() -> &'static Self {
        static SCENE: OnceLock<Scene> = OnceLock::new();
        SCENE.get_or_init(|| {
            let far = Far::start().unwrap();
            Self {
                ssh: far.relay(Way::Ssh).unwrap(),
                tls: far.relay(Way::Tls).unwrap(),
                far,
            }
        })
    }

    fn by_ssh(&self, port: u16) -> String {
        self.uri(Way::Ssh, port).unwrap()
    }

    fn by_tls(&self, port: u16) -> String {
        self.uri(Way::Tls, port).unwrap()
    }
}

fn driver(uri: &str) -> Arc<LibvirtDriver> {
    let config = LibvirtConfig {
        uri: uri.to_owned(),
        storage_pool: None,
        accelerator: AcceleratorChoice::Qemu,
    };
    Arc::new(LibvirtDriver::new(config).unwrap())
}

async fn works(uri: &str) {
    let seen = driver(uri).snapshot().await;
    seen.unwrap_or_else(|error| panic!("{uri}: {error}"));
}

/// Connecting fails, and the error says all of this.
#[track_caller]
fn assert_says(error: &DriverError, words: &[&str]) {
    assert!(matches!(error, DriverError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

async fn error_of(uri: &str) -> DriverError {
    match driver(uri).snapshot().await {
        Ok(_) => panic!("{uri} works"),
        Err(error) => error,
    }
}

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_host_is_let_in_by_its_known_key_alone() {
    let scene = Scene::get();
    let (port, key, socket) = (scene.ssh.port(), scene.sshd.key.private(), scene.socket());
    let files = TempDir::new().unwrap();
    works(&scene.by_ssh(port)).await;

    let known = file(files.path(), "known", "# nobody yet\n");
    let uri = ssh(port, &socket, &key, &known);
    let unknown = error_of(&uri).await;
    let accept = format!(
        "ssh-keyscan -t ed25519 -p {port} 127.0.0.1 >> {}",
        known.display()
    );
    let public = scene.sshd.directory().join("ed25519.pub");
    let shown = output_of(Command::new("ssh-keygen").arg("-lf").arg(public)).unwrap();
    let fingerprint = shown.split_whitespace().nth(1).unwrap();
    assert_says(&unknown, &["is not known", fingerprint, &accept]);
    // What it says can be done word by word, and then it works.
    output_of(Command::new("sh").args(["-c", &accept])).unwrap();
    works(&uri).await;
    output_of(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known)).unwrap();
    works(&uri).await;

    let name = format!("[127.0.0.1]:{port}");
    let ecdsa = scene.sshd.known(&name, "ecdsa").unwrap();
    works(&ssh(port, &socket, &key, &file(files.path(), "ecdsa", &ecdsa))).await;

    let other = KeyPair::generate().unwrap().public;
    let changed = file(files.path(), "changed", &format!("# one\n{name} {other}\n"));
    let error = error_of(&ssh(port, &socket, &key, &changed)).await;
    let place = format!("{}:2", changed.display());
    let forget = format!("ssh-keygen -R '{name}' -f {}", changed.display());
    assert_says(&error, &["another key than before", fingerprint, &place, &forget]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_of_ssh_is_told_with_what_mends_it() {
    let scene = Scene::get();
    let port = scene.ssh.port();
    let known = scene.sshd.known_hosts(port).unwrap();
    let (socket, key) = (scene.socket(), scene.sshd.key.private());

    let stranger = KeyPair::generate().unwrap();
    let error = error_of(&ssh(port, &socket, &stranger.private(), &known)).await;
    let tried = stranger.private().display().to_string();
    assert_says(
        &error,
        &[
            "does not let root in",
            "publickey",
            &tried,
            "refused",
            "ssh-copy-id",
        ],
    );

    let locked = locked_key();
    let error = error_of(&ssh(port, &socket, &locked.path().join("key"), &known)).await;
    assert_says(&error, &["has a passphrase", "ssh-add"]);
    let error = error_of(&ssh(port, &socket, Path::new("/nonexistent/key"), &known)).await;
    assert_says(&error, &["/nonexistent/key", "No such file"]);

    let error = error_of(&ssh(port, "/nonexistent/libvirt-sock", &key, &known)).await;
    assert_says(
        &error,
        &[
            "does not listen",
            "/nonexistent/libvirt-sock",
            "systemctl start libvirtd",
        ],
    );
    let strict = Sshd::start(&scene.host, 2223, "AllowStreamLocalForwarding no").unwrap();
    let relay = Relay::to(&scene.host, 2223).unwrap();
    let uri = ssh(
        relay.port(),
        &socket,
        &strict.key.private(),
        &strict.known_hosts(relay.port()).unwrap(),
    );
    assert_says(
        &error_of(&uri).await,
        &["AllowStreamLocalForwarding yes", "reload ssh"],
    );

    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let nobody = closed.local_addr().unwrap().port();
    drop(closed);
    let error = error_of(&ssh(nobody, &socket, &key, &known)).await;
    assert_says(
        &error,
        &["refused", "Nothing listens there", "systemctl start ssh"],
    );
    let error = error_of("qemu+ssh://root@nowhere.invalid/system").await;
    assert_says(&error, &["nowhere.invalid", "cannot be found"]);
}

/// A key with a passphrase.
fn locked_key() -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519", "-N", "secret", "-C", "locked", "-f"]);
    output_of(make.arg(directory.path().join("key"))).unwrap();
    directory
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_host_and_its_client_show_certificates_that_both_accept() {
    let scene = Scene::get();
    let port = scene.tls.port();
    works(&scene.by_tls(port)).await;

    let error = error_of(&tls("127.0.0.1", port, scene.pki.path())).await;
    assert_says(&error, &["not for this name", "localhost"]);

    let stranger = Authority::new("stranger").unwrap();
    let theirs = TempDir::new().unwrap();
    stranger.certify(For::Client, "client", theirs.path()).unwrap();
    let error = error_of(&tls("localhost", port, theirs.path())).await;
    assert_says(&error, &["not signed by the CA in", "cacert.pem"]);

    // The right host, and a client of another authority.
    let ours = scene.pki.path().join("cacert.pem");
    std::fs::copy(ours, theirs.path().join("cacert.pem")).unwrap();
    let error = error_of(&tls("localhost", port, theirs.path())).await;
    assert_says(
        &error,
        &[
            "does not let the client certificate",
            "clientcert.pem",
            "tls_allowed_dn_list",
        ],
    );

    let error = error_of(&tls("localhost", port, scene.authority.directory())).await;
    assert_says(
        &error,
        &["does not let a client without certificate", "~/.pki/libvirt"],
    );
    let error = error_of("qemu+tls://localhost/system?pkipath=/nonexistent").await;
    assert_says(&error, &["no CA certificate", "/nonexistent/cacert.pem"]);
    let nothing = tls("localhost", 1, scene.pki.path());
    assert_says(&error_of(&nothing).await, &["refused", "libvirtd-tls.socket"]);
}

const PAST: (&str, &str) = ("20200101000000Z", "20210101000000Z");
const FUTURE: (&str, &str) = ("20910101000000Z", "20920101000000Z");

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_out_of_its_time_or_revoked_is_named_with_its_side() {
    let scene = Scene::get();
    let (port, authority, pki) = (scene.tls.port(), &scene.authority, scene.pki.path());

    for (time, says) in [
        (PAST, "has expired"),
        (FUTURE, "is not valid yet, but will be in"),
    ] {
        let server = TempDir::new().unwrap();
        authority
            .certify_between(time, For::Server, "DNS:localhost", server.path())
            .unwrap();
        let showing = Showing::start(server.path()).unwrap();
        let error = error_of(&tls("localhost", showing.port(), pki)).await;
        let place = format!("the certificate of localhost:{} {says}", showing.port());
        assert_says(&error, &[&place, "days", "servercert.pem", "set the clock right"]);

        let client = TempDir::new().unwrap();
        authority
            .certify_between(time, For::Client, "client", client.path())
            .unwrap();
        let error = error_of(&tls("localhost", port, client.path())).await;
        let own = client.path().join("clientcert.pem").display().to_string();
        assert_says(&error, &[&own, says, "days", "certtool --generate-certificate"]);
    }

    // A client with the list of its CA refuses what is on it, and takes what is not.
    let careful = TempDir::new().unwrap();
    for file in ["cacert.pem", "clientcert.pem", "clientkey.pem"] {
        std::fs::copy(pki.join(file), careful.path().join(file)).unwrap();
    }
    let other = TempDir::new().unwrap();
    authority.certify(For::Client, "other", other.path()).unwrap();
    let uri = tls("localhost", port, careful.path());
    authority
        .revoke(&other.path().join("clientcert.pem"), careful.path())
        .unwrap();
    works(&uri).await;
    let server = scene.host.directory().join("etc/tls/servercert.pem");
    authority.revoke(&server, careful.path()).unwrap();
    let error = error_of(&uri).await;
    let list = careful.path().join("cacrl.pem").display().to_string();
    assert_says(&error, &["was revoked by its CA", &list, "with a new key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_accepts_and_says_nothing_is_given_up_in_time() {
    let scene = Scene::get();
    let silent = Silence::start().unwrap();
    let begun = Instant::now();
    let (by_ssh, by_tls) = (scene.by_ssh(silent.port()), scene.by_tls(silent.port()));
    let (ssh, tls) = tokio::join!(error_of(&by_ssh), error_of(&by_tls));
    assert!(begun.elapsed() < GIVEN_UP, "{:?}", begun.elapsed());
    assert_says(&ssh, &["the SSH handshake", "did not end within"]);
    assert_says(&tls, &["the TLS handshake", "did not end within"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_in_mid_call_loses_the_answer_and_the_next_call_connects_anew() {
    let scene = Scene::get();
    for (name, port) in [("ssh", sshd::PORT), ("tls", TLS_PORT)] {
        let relay = Relay::to(&scene.host, port).unwrap();
        let driver = driver(&match name {
            "ssh" => scene.by_ssh(relay.port()),
            _ => scene.by_tls(relay.port()),
        });
        driver.snapshot().await.unwrap();
        relay.freeze(true);
        let stuck = {
            let driver = driver.clone();
            tokio::spawn(async move {
                let (pool, volume) = (PoolName::from("default"), VolumeName("none".into()));
                driver.delete_volume(&pool, &volume).await
            })
        };
        // The call is on its way, since nothing else is to be done before it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        relay.cut();
        let lost = tokio::time::timeout(Duration::from_secs(20), stuck).await;
        let lost = lost.expect("it must not hang").unwrap().unwrap_err();
        assert!(matches!(lost, DriverError::ReplyLost { .. }), "{name}: {lost:?}");
        relay.freeze(false);
        driver.snapshot().await.unwrap();
        assert_eq!(relay.connections(), 2, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_may_only_read_says_so_when_it_is_asked_to_write() {
    let scene = Scene::get();
    for uri in [
        scene.by_ssh(scene.ssh.port()) + "&mode=ro",
        scene.by_tls(scene.tls.port()) + "&mode=ro",
    ] {
        let driver = driver(&uri);
        driver.snapshot().await.unwrap();
        let made = labyard_driver::spec::VolumeSpec {
            pool: PoolName::from("default"),
            name: VolumeName("never".into()),
            content: labyard_driver::spec::VolumeContent::Blank {
                capacity: labyard_driver::ids::Bytes(1 << 20),
            },
        };
        let error = driver.create_volume(&made).await.unwrap_err();
        assert!(error.to_string().contains("mode=ro"), "{uri}: {error}");
    }
}

/// An agent with one key, until it is dropped.
struct Agent {
    process: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Agent {
    fn with(key: &Path, passphrase: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let socket = directory.path().join("agent");
        let mut start = Command::new("ssh-agent");
        start.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null());
        let process = start.spawn().unwrap();
        let asking = file(
            directory.path(),
            "ask",
            &format!("#!/bin/sh\necho {passphrase}\n"),
        );
        output_of(Command::new("chmod").arg("+x").arg(&asking)).unwrap();
        labyard_acceptance_tests::wait::until("the agent", Duration::from_secs(10), || {
            let mut add = Command::new("ssh-add");
            add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &socket);
            add.env("SSH_ASKPASS", &asking)
                .env("SSH_ASKPASS_REQUIRE", "force");
            let ended = end_of(&mut add)?;
            Ok(match ended.status.success() {
                true => labyard_acceptance_tests::wait::Look::Holds(()),
                false => labyard_acceptance_tests::wait::Look::NotYet(ended.stderr),
            })
        })
        .unwrap();
        Self {
            process,
            socket,
            _directory: directory,
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[test]
fn terraform_goes_through_a_jump_host_by_an_alias_with_the_keys_of_an_agent() {
    let scene = Scene::get();
    let home = TempDir::new().unwrap();
    let below = home.path().join(".ssh");
    std::fs::create_dir(&below).unwrap();
    // The second host is seen from the first, where the server listens on its own port; it knows another key.
    let inner = Sshd::start(&scene.host, 2224, "").unwrap();
    let locked = locked_key();
    let public = std::fs::read_to_string(locked.path().join("key.pub")).unwrap();
    file(inner.directory(), "authorized", &public);
    let config = format!(
        "Host jump\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n\
         Host lab\n  HostName localhost\n  Port 2224\n  User root\n  ProxyJump jump\n  IdentityFile {}\n  IdentitiesOnly yes\n",
        scene.ssh.port(),
        scene.sshd.key.private().display(),
        locked.path().join("key").display()
    );
    file(&below, "config", &config);
    let known = scene
        .sshd
        .known(&format!("[127.0.0.1]:{}", scene.ssh.port()), "ed25519")
        .unwrap();
    file(&below, "known_hosts", &known);

    let mut terraform = Terraform::new().unwrap();
    terraform.env("HOME", &home.path().display().to_string());
    let uri = format!("qemu+ssh://lab/system?socket={}", scene.socket());
    let config = hcl::provider_of("  namespace = \"jump\"\n", &[("lab1", &uri)])
        + &hcl::network("jump", 71)
        + &hcl::machine(
            "jumped",
            format!(
                "memory_mib = 64\n  power = \"stopped\"\n  disks = {{ root = {{ image = {} }} }}\n  \
                 nics = {{ lan = {{ network = labyard_network.jump.name }} }}",
                hcl::image()
            ),
        );
    terraform.write("main.tf", &config).unwrap();
    let refused = terraform.plan(&[]).unwrap();
    let said = refused.run().text();
    assert!(
        said.contains("localhost:2224") && said.contains("is not known"),
        "{said}"
    );
    assert!(said.contains("root@lab true"), "{said}");
    let inner_key = inner.known("[localhost]:2224", "ed25519").unwrap();
    file(&below, "known_hosts", &(known + &inner_key));
    let refused = terraform.plan(&[]).unwrap();
    let said = refused.run().text();
    assert!(
        said.contains("has a passphrase") && said.contains("ssh-add"),
        "{said}"
    );

    let agent = Agent::with(&locked.path().join("key"), "secret");
    terraform.env("SSH_AUTH_SOCK", &agent.socket.display().to_string());
    terraform.apply(&[]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();
    let names = scene.host.virsh(&["list", "--all", "--name"]).unwrap();
    assert!(names.lines().any(|name| name == "jump.jumped"), "{names}");
    terraform.destroy(&[]).unwrap().expect_success();
    let names = scene.host.virsh(&["list", "--all", "--name"]).unwrap();
    assert!(!names.lines().any(|name| name == "jump.jumped"), "{names}");
}

#[test]
fn terraform_goes_through_two_jump_hosts_each_with_its_own_port_user_and_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::get();
    let home = TempDir::new().unwrap();
    let below = home.path().join(".ssh");
    std::fs::create_dir(&below).unwrap();
    let second = Sshd::start(&scene.host, 2225, "").unwrap();
    // Its user has no shell, and needs none to be passed through; it reads its keys itself.
    std::fs::set_permissions(second.directory(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let third = Sshd::start(&scene.host, 2226, "").unwrap();
    let config = |user: &str| {
        format!(
            "Host one\n  HostName 127.0.0.1\n  Port {}\n  User root\n  IdentityFile {}\n\
             Host two\n  HostName localhost\n  User wrong\n  IdentityFile {}\n\
             Host lab\n  HostName 127.0.0.1\n  Port 2226\n  User root\n  ProxyJump one,{user}@two:2225\n  \
             IdentityFile {}\n\
             Host *\n  IdentitiesOnly yes\n",
            scene.ssh.port(),
            scene.sshd.key.private().display(),
            second.key.private().display(),
            third.key.private().display()
        )
    };
    let known = [
        (&scene.sshd, format!("[127.0.0.1]:{}", scene.ssh.port())),
        (&second, "[localhost]:2225".to_owned()),
        (&third, "[127.0.0.1]:2226".to_owned()),
    ];
    let known: String = known
        .iter()
        .map(|(sshd, name)| sshd.known(name, "ed25519").unwrap())
        .collect();
    file(&below, "known_hosts", &known);
    let mut terraform = Terraform::new().unwrap();
    terraform.env("HOME", &home.path().display().to_string());
    terraform.env("SSH_AUTH_SOCK", "");
    let uri = format!("qemu+ssh://lab/system?socket={}", scene.socket());
    let look = "data \"labyard_host\" \"lab\" {\n  name = \"lab1\"\n}\n";
    terraform
        .write("main.tf", &(hcl::provider_of("", &[("lab1", &uri)]) + look))
        .unwrap();

    // Whoever is not let in half-way is named with the place where that is.
    file(&below, "config", &config("ghost"));
    let refused = terraform.plan(&[]).unwrap();
    let said = refused.run().text();
    assert!(said.contains("localhost:2225 does not let ghost in"), "{said}");
    file(&below, "config", &config("nobody"));
    terraform.plan(&[]).unwrap().expect_success();
}

/// The shortest of a few refreshes over connections that stand.
async fn refresh(driver: &LibvirtDriver) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..REFRESHES {
        let begun = Instant::now();
        let seen = driver.snapshot().await.unwrap();
        best = best.min(begun.elapsed());
        assert!(seen.machines.len() >= MACHINES);
    }
    best
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_of_fifty_machines_costs_a_few_round_trips_by_tls_and_by_ssh() {
    let scene = Scene::get();
    let (by_ssh, by_tls) = (
        Relay::to(&scene.host, sshd::PORT).unwrap(),
        Relay::to(&scene.host, TLS_PORT).unwrap(),
    );
    let uri = scene.by_tls(by_tls.port());
    let fleet = format!(
        "resource \"labyard_vm\" \"fleet\" {{\n  count = {MACHINES}\n  name = \"fleet-${{count.index}}\"\n  memory_mib = 64\n  \
         power = \"stopped\"\n  nics = {{ lan = {{ network = labyard_network.one.name }} }}\n}}\n"
    );
    let config = hcl::provider_of("  namespace = \"far\"\n", &[("lab1", &uri)])
        + &hcl::network("one", 72)
        + &hcl::network("two", 73)
        + &hcl::network("three", 74)
        + &fleet;
    let terraform = Terraform::new().unwrap();
    terraform.write("main.tf", &config).unwrap();
    terraform.apply(&["-parallelism=50"]).unwrap().expect_success();
    terraform.plan(&[]).unwrap().expect_empty();

    for (name, uri, relay) in [
        ("TLS", scene.by_tls(by_tls.port()), &by_tls),
        ("SSH", scene.by_ssh(by_ssh.port()), &by_ssh),
    ] {
        let near = driver(&uri);
        let begun = Instant::now();
        near.snapshot().await.unwrap();
        let cold_near = begun.elapsed();
        let short = refresh(&near).await;
        let by = scene.lengthen(relay, WAY);
        let spoken = relay.turns();
        let long = refresh(&near).await;
        let turns = (relay.turns() - spoken) as f64 / f64::from(REFRESHES);
        let far = driver(&uri);
        let begun = Instant::now();
        far.snapshot().await.unwrap();
        let cold_far = begun.elapsed();
        scene.shorten(relay);
        let trips = |far: Duration, near: Duration| {
            far.saturating_sub(near).as_secs_f64() / (2.0 * WAY.as_secs_f64())
        };
        let warm = trips(long, short);
        eprintln!(
            "{name}, 50 ms by {by:?}: a refresh of {MACHINES} machines {long:?} ({short:?} without the way): {warm:.1} round \
             trips, {turns:.1} turns; with connecting {cold_far:?} ({cold_near:?}): {:.1}",
            trips(cold_far, cold_near)
        );
        assert!(warm < 8.0, "{name}: {warm:.1} round trips");
    }
    terraform.destroy(&["-parallelism=50"]).unwrap().expect_success();
}

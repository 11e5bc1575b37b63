//! Sessions with a real sshd: who is let in, who is known, what goes through.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod sshd;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use labyard_ssh::{Error, Host, Session, Ssh};
use sshd::{Relay, Sshd, WORDS, program};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn session(ssh: &Ssh) -> Result<Arc<Session>, Error> {
    ssh.open(soon(), "logging in", |session| async move { Ok(session) })
        .await
}

/// Sends back what comes.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    port
}

async fn goes_through(ssh: &Ssh, port: u16) -> Result<(), Error> {
    let opened = ssh.open(soon(), "opening a channel", |session| async move {
        session.tcp("127.0.0.1", port).await
    });
    let mut stream = opened.await?;
    let sent: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let mut back = vec![0; sent.len()];
    let (mut from, mut to) = tokio::io::split(&mut stream);
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut back));
    written.unwrap();
    read.unwrap();
    assert!(sent == back, "what went through is not what came back");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_serves_channels_files_and_commands() {
    let Some(sshd) = Sshd::start("") else { return };
    let (ssh, port) = (sshd.ssh(), echo().await);
    let all = (0..8).map(|_| goes_through(&ssh, port));
    for through in futures::future::join_all(all).await {
        through.unwrap();
    }
    let opened = ssh.open(soon(), "opening SFTP", |session| async move {
        session.subsystem("sftp").await
    });
    let mut files = opened.await.unwrap();
    // SSH_FXP_INIT of version 3, which SSH_FXP_VERSION answers (draft-ietf-secsh-filexfer-02, section 4).
    files.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await.unwrap();
    let mut answer = [0; 5];
    files.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[4], 2);
    let session = session(&ssh).await.unwrap();
    assert_eq!(session.shell("echo hello").await.unwrap(), "hello\n");
    let none = session.subsystem("nothing").await.unwrap_err();
    assert!(
        matches!(&none, Error::Subsystem { name, .. } if name == "nothing"),
        "{none}"
    );
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_died_is_made_anew() {
    let Some(sshd) = Sshd::start("") else { return };
    let relay = Relay::to(sshd.port).await;
    let ssh = Ssh::new(sshd.host(relay.port, "key"), WORDS).within(sshd.environment());
    let port = echo().await;
    goes_through(&ssh, port).await.unwrap();
    relay.cut().await;
    goes_through(&ssh, port).await.unwrap();
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_key_is_not_known_or_another_is_not_spoken_with() {
    let Some(sshd) = Sshd::start("") else { return };
    let mut host = sshd.host(sshd.port, "key");
    let known = host.known_hosts.clone().unwrap();
    let name = format!("[127.0.0.1]:{}", sshd.port);
    let with = |host: &Host| Ssh::new(host.clone(), WORDS).within(sshd.environment());
    std::fs::write(&known, "# nobody\n").unwrap();
    let error = session(&with(&host)).await.unwrap_err();
    let Error::UnknownHost(unknown) = &error else {
        panic!("{error}");
    };
    let (accept, shown_by) = (&unknown.accept, &unknown.shown_by);
    assert!(accept.starts_with("ssh-keyscan -t ed25519"), "{accept}");
    assert_eq!(
        shown_by,
        r"ssh-keygen -lf C:\ProgramData\ssh\ssh_host_ed25519_key.pub"
    );
    // What it says can be done word by word, and then it works.
    assert!(
        Command::new("sh")
            .args(["-c", accept])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    session(&with(&host)).await.unwrap();
    let stranger = std::fs::read_to_string(sshd.directory.path().join("stranger.pub")).unwrap();
    std::fs::write(&known, format!("{name} {stranger}")).unwrap();
    let error = session(&with(&host)).await.unwrap_err();
    assert!(
        matches!(&error, Error::ChangedHost(changed) if changed.line == 1),
        "{error}"
    );
    host = sshd.host(sshd.port, "stranger");
    let error = session(&with(&host)).await.unwrap_err();
    assert!(matches!(error, Error::Authentication { .. }), "{error}");
    assert!(
        error.to_string().contains("administrators_authorized_keys"),
        "{error}"
    );
    assert!(
        error.to_string().contains("by `key_file` or IdentityFile"),
        "{error}"
    );
}

/// A real agent.
struct Agent {
    process: Child,
    socket: String,
}

impl Agent {
    fn start(sshd: &Sshd) -> Option<Self> {
        let socket = sshd.directory.path().join("agent");
        let mut process = Command::new(program("ssh-agent")?)
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it is once it is there.
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let socket = socket.display().to_string();
        Some(Self { process, socket })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _may_have_ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_the_configuration_leads_through_its_jump_host_with_a_key_of_the_agent() {
    let (Some(sshd), Some(jump)) = (Sshd::start(""), Sshd::start("")) else {
        return;
    };
    let Some(agent) = Agent::start(&sshd) else { return };
    for server in [&sshd, &jump] {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(server.directory.path().join("key"))
            .env("SSH_AUTH_SOCK", &agent.socket)
            .stderr(Stdio::null())
            .status();
        assert!(added.unwrap().success());
    }
    let known: String = [&sshd, &jump]
        .map(|server| {
            let host = server.host(server.port, "key");
            std::fs::read_to_string(host.known_hosts.unwrap()).unwrap()
        })
        .concat();
    let config = format!(
        "Host hv7\n HostName 127.0.0.1\n Port {}\n ProxyJump between\nHost between\n HostName 127.0.0.1\n Port {}\n",
        sshd.port, jump.port
    );
    let mut environment = sshd.environment();
    let home = environment.home.clone().unwrap();
    std::fs::create_dir_all(home.join(".ssh")).unwrap();
    std::fs::write(home.join(".ssh/config"), config).unwrap();
    std::fs::write(home.join(".ssh/known_hosts"), known).unwrap();
    environment.agent = Some(agent.socket.clone().into());
    let ssh = Ssh::new("hv7".parse().unwrap(), WORDS).within(environment);
    goes_through(&ssh, echo().await).await.unwrap();
    assert_eq!((sshd.logins(), jump.logins()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forwards_nothing_and_a_port_where_nobody_listens_are_told_apart() {
    let (Some(closed), Some(open)) = (Sshd::start("AllowTcpForwarding no"), Sshd::start("")) else {
        return;
    };
    let port = echo().await;
    let error = goes_through(&closed.ssh(), port).await.unwrap_err();
    assert!(matches!(error, Error::ForwardingForbidden { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("`AllowTcpForwarding yes` in C:\\ProgramData\\ssh\\sshd_config")
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = goes_through(&open.ssh(), nobody.port()).await.unwrap_err();
    assert!(matches!(error, Error::NotForwarded { .. }), "{error}");
    // That says nothing about the session, which goes on.
    let ssh = open.ssh();
    assert!(goes_through(&ssh, nobody.port()).await.is_err());
    goes_through(&ssh, port).await.unwrap();
    assert_eq!(open.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_or_not_there_is_told_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = |port| format!("op@127.0.0.1:{port}").parse().unwrap();
    let ssh = Ssh::new(host(silent.local_addr().unwrap().port()), WORDS);
    let deadline = Instant::now() + Duration::from_millis(300);
    let error = ssh
        .open(deadline, "logging in", |session| async move { Ok(session) })
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::TimedOut { doing, .. } if doing.contains("the SSH handshake")),
        "{error}"
    );
    let nobody = silent.local_addr().unwrap().port();
    drop(silent);
    let error = session(&Ssh::new(host(nobody), WORDS)).await.unwrap_err();
    assert!(error.to_string().contains("`Start-Service sshd`"), "{error}");
}

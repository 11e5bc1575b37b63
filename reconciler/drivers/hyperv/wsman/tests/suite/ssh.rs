//! Through a real sshd to a service behind it, which nobody reaches otherwise: its name has no address.

use std::sync::Arc;

use labyard_ssh::Ssh;
use wsman::http::{Account, Http, Login, Settings, ThroughSsh, Trust};
use wsman::{Carrier, Error, Trouble};

use crate::sealing::{PASSWORD, acceptor, certificate};
use crate::sshd::{Relay, Sshd, WORDS};

fn settings(ssh: &Arc<Ssh>, url: &str) -> Settings {
    let login = Login::Negotiate(Account::new(r"HV7\op", PASSWORD));
    Settings {
        dial: Arc::new(ThroughSsh::new(Arc::clone(ssh))),
        ..Settings::new(url.parse().unwrap(), login)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_side_by_side_go_sealed_through_one_session() {
    let Some(sshd) = Sshd::start("") else { return };
    let (acceptor, ssh) = (acceptor(&[]), Arc::new(sshd.ssh()));
    let http = Http::new(settings(&ssh, &format!("http://hv7.invalid:{}", acceptor.port))).unwrap();
    let body = "<x>é</x>".repeat(20_000);
    let backwards: Vec<u8> = body.bytes().rev().collect();
    let all = futures::future::join_all((0..20).map(|_| http.carry(body.clone()))).await;
    for answer in all {
        assert!(answer.unwrap().body == backwards);
    }
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_ssh_is_known_by_its_certificate_under_its_own_name() {
    let Some(sshd) = Sshd::start("") else { return };
    let (pem, authority) = certificate("hv7.invalid");
    let acceptor = acceptor(&["--tls", &pem.path().display().to_string()]);
    let ssh = Arc::new(sshd.ssh());
    let carried = async |name: &str| {
        let mut settings = settings(&ssh, &format!("https://{name}:{}", acceptor.port));
        settings.tls.trust = Trust::Authority(authority.clone());
        Http::new(settings).unwrap().carry("<x/>".to_owned()).await
    };
    assert_eq!(&carried("hv7.invalid").await.unwrap().body[..], b">/x<");
    let error = carried("hv8.invalid").await.unwrap_err();
    assert!(matches!(error, Error::NotSent(Trouble::Tls { .. })), "{error}");
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_session_died_the_next_request_goes_through_a_new_one() {
    let Some(sshd) = Sshd::start("") else { return };
    let relay = Relay::to(sshd.port).await;
    let ssh = Ssh::new(sshd.host(relay.port, "key"), WORDS).within(sshd.environment());
    let acceptor = acceptor(&[]);
    let http = Http::new(settings(
        &Arc::new(ssh),
        &format!("http://hv7.invalid:{}", acceptor.port),
    ));
    let http = http.unwrap();
    http.carry("<x/>".to_owned()).await.unwrap();
    relay.cut().await;
    // A request that is on its way when the session dies is lost, and said to be; nothing repeats it here.
    let again = async {
        loop {
            match http.carry("<x/>".to_owned()).await {
                Ok(answer) => return answer,
                Err(error) => assert!(matches!(error, Error::Lost(_)), "{error}"),
            }
        }
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), again).await;
    assert_eq!(&answer.unwrap().body[..], b">/x<");
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_through_ssh_is_told_with_what_mends_it() {
    let (Some(open), Some(closed)) = (Sshd::start(""), Sshd::start("AllowTcpForwarding no")) else {
        return;
    };
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://hv7.invalid:{}", nobody.port());
    let tried = async |sshd: &Sshd| {
        let http = Http::new(settings(&Arc::new(sshd.ssh()), &url)).unwrap();
        http.carry("<x/>".to_owned()).await.unwrap_err()
    };
    let error = tried(&open).await;
    assert!(
        matches!(&error, Error::NotSent(Trouble::Unreachable { place, .. }) if place.starts_with("127.0.0.1:")),
        "{error}"
    );
    assert!(error.to_string().contains("winrm quickconfig"), "{error}");
    let error = tried(&closed).await;
    assert!(
        matches!(
            error,
            Error::NotSent(Trouble::Ssh(labyard_ssh::Error::ForwardingForbidden { .. }))
        ),
        "{error}"
    );
}

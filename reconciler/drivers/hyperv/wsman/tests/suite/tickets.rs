//! Logins by tickets of MIT's centre, to an acceptor of MIT's.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;
use wsman::http::{Dial, Http, Login, Principal, Settings, Stream, Trust};
use wsman::{Carrier, Error, KerberosTrouble, Trouble};

use crate::kdc::{Kdc, PASSWORD, REALM};
use crate::sealing::{Acceptor, certificate};

/// A service has a name in its realm that no DNS knows.
struct Loopback;

#[async_trait::async_trait]
impl Dial for Loopback {
    async fn dial(&self, _host: &str, port: u16, _: Instant) -> Result<Box<dyn Stream>, Trouble> {
        Ok(Box::new(TcpStream::connect(("127.0.0.1", port)).await.unwrap()))
    }
}

fn acceptor(kdc: &Kdc, arguments: &[&str]) -> Acceptor {
    let (keytab, config) = (kdc.file("keytab"), kdc.file("krb5.conf"));
    let environment = [
        ("KRB5_KTNAME", keytab.as_path()),
        ("KRB5_CONFIG", config.as_path()),
    ];
    Acceptor::start(&[&["--kerberos"], arguments].concat(), &environment)
}

fn settings(kdc: &Kdc, url: &str, user: &str, password: &str) -> Settings {
    let principal = Principal::new(user, REALM, password).centre(Some(format!("127.0.0.1:{}", kdc.port)));
    Settings {
        dial: Arc::new(Loopback),
        ..Settings::new(url.parse().unwrap(), Login::Kerberos(principal))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_by_a_ticket_is_sealed_and_so_is_what_comes_back_however_it_is_turned() {
    let Some(kdc) = Kdc::start() else { return };
    for (arguments, host) in [
        (&[][..], "hv7.lab.test"),
        (&["--iov"], "hv7.lab.test"),
        (&["--iov", "--tabs"], "hv8.lab.test"),
    ] {
        let acceptor = acceptor(&kdc, arguments);
        let url = format!("http://{host}:{}", acceptor.port);
        let http = Http::new(settings(&kdc, &url, "op", PASSWORD)).unwrap();
        for nth in 0..4 {
            let text = format!("<x>{nth}é</x>").repeat(nth * 1000 + 1);
            let backwards: Vec<u8> = text.bytes().rev().collect();
            let answer = http.carry(text).await.unwrap();
            assert!(
                answer.status == 200 && answer.body == backwards,
                "{arguments:?} {host} {nth}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_side_by_side_have_a_login_each_and_one_ticket() {
    let Some(kdc) = Kdc::start() else { return };
    let acceptor = acceptor(&kdc, &[]);
    let url = format!("http://hv7.lab.test:{}", acceptor.port);
    let http = Http::new(settings(&kdc, &url, "op", PASSWORD)).unwrap();
    let all = futures::future::join_all((0..20).map(|_| http.carry("<x/>".to_owned()))).await;
    for answer in all {
        assert_eq!(&answer.unwrap().body[..], b">/x<");
    }
    assert_eq!(kdc.tickets(), 1, "{}", kdc.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_by_a_ticket_over_tls_is_bound_to_the_certificate_of_the_service() {
    let Some(kdc) = Kdc::start() else { return };
    let (pem, authority) = certificate("hv7.lab.test");
    let file = pem.path().display().to_string();
    let carried = async |arguments: &[&str]| {
        let acceptor = acceptor(&kdc, arguments);
        let url = format!("https://hv7.lab.test:{}", acceptor.port);
        let mut settings = settings(&kdc, &url, "op", PASSWORD);
        settings.tls.trust = Trust::Authority(authority.clone());
        Http::new(settings).unwrap().carry("<x/>".to_owned()).await
    };
    let answer = carried(&["--tls", &file]).await.unwrap();
    assert_eq!(&answer.body[..], b">/x<", "TLS seals, and nothing else does");
    // Somebody in between shows a certificate of his own.
    let error = carried(&["--tls", &file, &"00".repeat(32)]).await.unwrap_err();
    assert!(matches!(error, Error::NotSent(Trouble::Login { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_shown_to_the_centre_once_whoever_asks() {
    let Some(kdc) = Kdc::start() else { return };
    let acceptor = acceptor(&kdc, &[]);
    let url = format!("http://hv7.lab.test:{}", acceptor.port);
    let http = Http::new(settings(&kdc, &url, "op", "other")).unwrap();
    for _ in 0..2 {
        let all = futures::future::join_all((0..20).map(|_| http.carry("<x/>".to_owned()))).await;
        for one in all {
            assert!(
                matches!(one, Err(Error::NotSent(Trouble::Kerberos { .. }))),
                "{one:?}"
            );
        }
    }
    let log = kdc.log();
    assert_eq!(log.matches("PREAUTH_FAILED").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_from_a_ticket_is_told_with_what_mends_it() {
    let Some(kdc) = Kdc::start() else { return };
    let tried = async |url: &str, user: &str, password: &str, kdc: &Kdc| {
        let http = Http::new(settings(kdc, url, user, password)).unwrap();
        match http.carry("<x/>".to_owned()).await.unwrap_err() {
            Error::NotSent(Trouble::Kerberos { why, .. }) => why,
            other => panic!("{other}"),
        }
    };
    // Nobody listens there: a ticket that is not got shows before.
    let acceptor = acceptor(&kdc, &[]);
    let here = format!("http://hv7.lab.test:{}", acceptor.port);
    let elsewhere = format!("http://hv9.lab.test:{}", acceptor.port);
    let wrong = tried(&here, "op", "other", &kdc).await;
    assert!(matches!(wrong, KerberosTrouble::WrongPassword { .. }), "{wrong}");
    let unknown = tried(&here, "nobody", PASSWORD, &kdc).await;
    assert!(
        matches!(unknown, KerberosTrouble::UnknownUser { .. }),
        "{unknown}"
    );
    let service = tried(&elsewhere, "op", PASSWORD, &kdc).await;
    assert!(
        matches!(&service, KerberosTrouble::UnknownService { service, .. } if service == "HTTP/hv9.lab.test"),
        "{service}"
    );
    let mut gone = Kdc::start().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    gone.port = free.port();
    let gone = tried(&here, "op", PASSWORD, &gone).await;
    assert!(matches!(gone, KerberosTrouble::Unreachable { .. }), "{gone}");
}

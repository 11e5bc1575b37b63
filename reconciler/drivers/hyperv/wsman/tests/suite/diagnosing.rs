//! The way to a service step by step.

use std::sync::Arc;

use wsman::check::{Outcome, Step, diagnose, further};
use wsman::http::{Fingerprint, Http, ThroughSsh, Trust};
use wsman::{Client, Error, Namespace, TlsTrouble, Trouble};

use crate::carrying::{Does, Service, serve, settings};
use crate::service::{envelope, fault};
use crate::sshd::Sshd;

fn answer(status: u16, body: &str) -> Does {
    let text = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Does::Answers(text.leak())
}

fn identity() -> Does {
    let said = "<i:IdentifyResponse xmlns:i='http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd'>\
                <i:ProductVendor>Microsoft Corporation</i:ProductVendor>\
                <i:ProductVersion>OS: 10.0.20348 SP: 0.0 Stack: 3.0</i:ProductVersion></i:IdentifyResponse>";
    answer(200, &envelope(said))
}

fn config() -> Does {
    // Names as `winrm get winrm/config` shows them.
    let said = "<cfg:Config xmlns:cfg='http://schemas.microsoft.com/wbem/wsman/1/config'>\
                <cfg:MaxEnvelopeSizekb>500</cfg:MaxEnvelopeSizekb><cfg:MaxTimeoutms>60000</cfg:MaxTimeoutms>\
                <cfg:Service><cfg:AllowUnencrypted>false</cfg:AllowUnencrypted><cfg:MaxConnections>300</cfg:MaxConnections>\
                </cfg:Service></cfg:Config>";
    answer(200, &envelope(said))
}

fn rows() -> Does {
    let said = "<n:EnumerateResponse><w:Items><p:C xmlns:p='u/C'/></w:Items><w:EndOfSequence/></n:EnumerateResponse>";
    answer(200, &envelope(said))
}

async fn diagnosed(service: &Service, trust: Trust) -> Vec<Step> {
    let http = Arc::new(Http::new(settings(service, trust)).unwrap());
    let machines = further("machines", |client: Client| async move {
        let rows = client
            .query(Namespace("root/virtualization/v2"), "SELECT * FROM C")
            .await?;
        Ok(format!("{} systems", rows.len()))
    });
    diagnose(http, wsman::Settings::default(), vec![machines]).await
}

fn told(steps: &[Step]) -> Vec<String> {
    let each = |step: &Step| match &step.outcome {
        Outcome::Well(found) => format!("{}: {found}", step.name),
        Outcome::Unknown(why) => format!("{}? {why}", step.name),
        Outcome::Failed(error) => format!("{}! {error}", step.name),
        Outcome::NotGone => format!("{} -", step.name),
    };
    steps.iter().map(each).collect()
}

#[tokio::test]
async fn each_step_says_what_is_there() {
    let service = serve(Vec::leak(vec![identity(), config(), rows()])).await;
    let steps = diagnosed(&service, Trust::Authority(service.pem.clone().into_bytes())).await;
    let (told, port) = (told(&steps), service.address.port());
    let fingerprint = Fingerprint::of(&service.der);
    assert!(
        told[0].starts_with("address of localhost: ") && told[0].contains("127.0.0.1"),
        "{told:?}"
    );
    assert_eq!(
        told[1],
        format!("connection to localhost:{port}: 127.0.0.1:{port}")
    );
    assert_eq!(
        told[2],
        format!("TLS with localhost:{port}: certificate with SHA-256 {fingerprint}")
    );
    assert_eq!(
        told[3..],
        [
            "login by Basic: op, with each request",
            "service: Microsoft Corporation OS: 10.0.20348 SP: 0.0 Stack: 3.0",
            "limits of the service: MaxEnvelopeSizekb 500, MaxTimeoutms 60000, MaxConnections 300, AllowUnencrypted false",
            "machines: 1 systems",
        ]
    );
}

#[tokio::test]
async fn limits_that_are_not_shown_keep_from_nothing() {
    let denied = answer(500, &fault("AccessDenied", 5));
    let service = serve(Vec::leak(vec![identity(), denied, rows()])).await;
    let told = told(&diagnosed(&service, Trust::Pinned(Fingerprint::of(&service.der))).await);
    assert_eq!(
        told[5..],
        [
            "limits of the service? shown to administrators of the host alone",
            "machines: 1 systems"
        ]
    );
}

#[tokio::test]
async fn after_the_first_step_that_fails_none_is_gone() {
    let service = serve(Vec::leak(vec![identity()])).await;
    let steps = diagnosed(&service, Trust::Pinned(Fingerprint::of(b"another"))).await;
    let Outcome::Failed(Error::NotSent(Trouble::Tls { why, .. })) = &steps[2].outcome else {
        panic!("{steps:?}");
    };
    assert!(matches!(why, TlsTrouble::OtherCertificate { .. }), "{why}");
    assert!(
        steps[3..]
            .iter()
            .all(|step| matches!(step.outcome, Outcome::NotGone))
    );
    assert_eq!(steps.last().unwrap().name, "machines");
    let refused = answer(401, "");
    let service = serve(Vec::leak(vec![refused])).await;
    let steps = diagnosed(&service, Trust::Pinned(Fingerprint::of(&service.der))).await;
    assert!(
        matches!(
            &steps[4].outcome,
            Outcome::Failed(Error::NotSent(Trouble::Login { .. }))
        ),
        "{steps:?}"
    );
    assert!(matches!(steps[5].outcome, Outcome::NotGone));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_through_ssh_is_told_with_its_own_steps() {
    let (Some(open), Some(closed)) = (Sshd::start(""), Sshd::start("AllowTcpForwarding no")) else {
        return;
    };
    let service = serve(Vec::leak(vec![identity(), config()])).await;
    let diagnosed = async |sshd: &Sshd| {
        let mut settings = settings(&service, Trust::Pinned(Fingerprint::of(&service.der)));
        settings.endpoint.host = "hv7.invalid".to_owned();
        settings.dial = Arc::new(ThroughSsh::new(Arc::new(sshd.ssh())));
        let http = Arc::new(Http::new(settings).unwrap());
        diagnose(http, wsman::Settings::default(), Vec::new()).await
    };
    let (steps, port) = (diagnosed(&open).await, service.address.port());
    let told = told(&steps);
    assert!(told[0].starts_with("SSH login on 127.0.0.1: ") && told[0].ends_with(&open.port.to_string()));
    assert_eq!(told[1], format!("channel to 127.0.0.1:{port}: "));
    assert!(
        told[2].starts_with(&format!("TLS with hv7.invalid:{port}: ")),
        "{told:?}"
    );
    assert!(told[4].starts_with("service: Microsoft"), "{told:?}");
    let steps = diagnosed(&closed).await;
    assert!(matches!(&steps[0].outcome, Outcome::Well(_)), "{steps:?}");
    assert!(
        matches!(
            &steps[1].outcome,
            Outcome::Failed(Error::NotSent(Trouble::Ssh(_)))
        ),
        "{steps:?}"
    );
    assert!(matches!(steps[2].outcome, Outcome::NotGone));
}

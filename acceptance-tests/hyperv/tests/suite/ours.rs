//! Our client against the host: every login, sealed and not, pages, methods, what is lost.

use std::sync::Arc;

use labyard_hyperv_double::wire::{Hardening, Rule, Server, Trouble};
use wsman::http::{Account, ClientCertificate, Http, Login, Settings, Trust};
use wsman::{Client, Error, FaultKind, Invoke, Namespace, Raw, Reference, ResourceUri, Value};

use crate::raw::{PASSWORD, USER, with};
use crate::shelf::{FIRST, SERVICE};

const V2: Namespace = Namespace("root/virtualization/v2");

fn negotiate(password: &str) -> Login {
    Login::Negotiate(Account::new(format!(r"HV7\{USER}"), password))
}

fn over_http(server: &Server) -> Settings {
    let endpoint = format!("http://{}", server.http().unwrap());
    Settings::new(endpoint.parse().unwrap(), negotiate(PASSWORD))
}

fn over_https(server: &Server, login: Login) -> Settings {
    let endpoint = format!("https://localhost:{}", server.https().unwrap().port());
    let mut settings = Settings::new(endpoint.parse().unwrap(), login);
    settings.tls.trust = Trust::Authority(server.certificate().unwrap().as_bytes().to_vec());
    settings
}

fn client(settings: Settings) -> Client {
    client_of_pages(settings, 500)
}

fn client_of_pages(settings: Settings, page: u32) -> Client {
    let asking = wsman::Settings {
        page,
        ..wsman::Settings::default()
    };
    Client::new(Arc::new(Http::new(settings).unwrap()), asking)
}

async fn names(client: &Client, query: &str) -> Result<Vec<String>, Error> {
    let rows = client.query(V2, query).await?;
    let name = |row: &wsman::Object| match row.get("ElementName") {
        Raw::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    Ok(rows.iter().map(name).collect())
}

const MACHINES: &str = "SELECT * FROM Msvm_ComputerSystem WHERE Name != __SERVER";

#[tokio::test(flavor = "multi_thread")]
async fn a_life_over_http_is_sealed() {
    let server = with(3, |config| config.https = None).await;
    let client = client_of_pages(over_http(&server), 2);
    assert_eq!(client.identify().await.unwrap().vendor, "Microsoft Corporation");
    assert_eq!(
        names(&client, MACHINES).await.unwrap(),
        ["web-01", "web-02", "web-03"]
    );
    assert_eq!((server.count("Enumerate"), server.count("Pull")), (1, 1));
    let machine = Reference::new(
        V2,
        "Msvm_ComputerSystem",
        &[("CreationClassName", "Msvm_ComputerSystem"), ("Name", FIRST)],
    );
    let start = Invoke::of(machine.clone(), "RequestStateChange").text("RequestedState", "2");
    let output = client.invoke(&start).await.unwrap();
    assert_eq!(output.get("ReturnValue"), &Raw::Text("0".into()));
    assert_eq!(
        client.get(&machine).await.unwrap().get("EnabledState"),
        &Raw::Text("2".into())
    );
    let define = Invoke::of(Reference::service(V2, SERVICE), "DefineSystem").text(
        "SystemSettings",
        "<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\"><PROPERTY NAME=\"ElementName\" TYPE=\"string\">\
         <VALUE>a&#60;b&#38;c</VALUE></PROPERTY></INSTANCE>",
    );
    let output = client.invoke(&define).await.unwrap();
    let Raw::Reference(made) = output.get("ResultingSystem") else {
        panic!("{output:?}");
    };
    let read = client.get(made).await.unwrap();
    assert_eq!(read.get("ElementName"), &Raw::Text("a<b&c".into()));
    let destroy = Invoke::of(Reference::service(V2, SERVICE), "DestroySystem")
        .reference("AffectedSystem", made.clone());
    assert_eq!(
        client.invoke(&destroy).await.unwrap().get("ReturnValue"),
        &Raw::Text("0".into())
    );
    let gone = client.get(made).await.unwrap_err();
    assert_eq!(gone.fault(), Some(FaultKind::NotFound), "{gone}");
    assert_eq!(server.complaints(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_are_sealed_each_for_itself() {
    let server = with(1, |config| config.https = None).await;
    let client = client(over_http(&server));
    let all = (0..40).map(|_| names(&client, MACHINES));
    for found in futures::future::join_all(all).await {
        assert_eq!(found.unwrap(), ["web-01"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_over_https_are_bound_to_the_certificate() {
    for hardening in [Hardening::None, Hardening::Relaxed, Hardening::Strict] {
        let server = with(1, |config| config.hardening = hardening).await;
        let client = client(over_https(&server, negotiate(PASSWORD)));
        assert_eq!(
            names(&client, MACHINES).await.unwrap(),
            ["web-01"],
            "{hardening:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_and_certificates_go_over_https() {
    let pair = rcgen::generate_simple_self_signed(["op".to_owned()]).unwrap();
    let shown = pair.cert.der().to_vec();
    let server = with(1, |config| {
        config.offers.basic = true;
        config.offers.certificate = true;
        config.users[0].certificate = Some(shown);
    })
    .await;
    let basic = client(over_https(&server, Login::Basic(Account::new(USER, PASSWORD))));
    assert_eq!(names(&basic, MACHINES).await.unwrap(), ["web-01"]);
    let mut settings = over_https(&server, Login::Certificate);
    let certificate = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        let key = pair.signing_key.serialize_pem().into_bytes();
        ClientCertificate {
            chain: pair.cert.pem().into_bytes(),
            key: key.into(),
        }
    };
    settings.tls.certificate = Some(certificate(&pair));
    assert_eq!(names(&client(settings), MACHINES).await.unwrap(), ["web-01"]);
    let stranger = rcgen::generate_simple_self_signed(["op".to_owned()]).unwrap();
    let mut settings = over_https(&server, Login::Certificate);
    settings.tls.certificate = Some(certificate(&stranger));
    let error = names(&client(settings), MACHINES).await.unwrap_err();
    assert!(matches!(error, Error::NotSent(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_by_each_login() {
    let server = with(1, |config| config.offers.basic = true).await;
    let mut plain = over_http(&server);
    plain.login = negotiate("other");
    for settings in [
        plain,
        over_https(&server, negotiate("other")),
        over_https(&server, Login::Basic(Account::new(USER, "other"))),
    ] {
        let error = names(&client(settings), MACHINES).await.unwrap_err();
        assert!(matches!(error, Error::NotSent(_)), "{error}");
    }
    assert_eq!(server.log().len(), 0, "nothing was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_known_as_lost_and_a_session_that_ended_is_made_anew() {
    let server = with(1, |config| config.https = None).await;
    let client = client(over_http(&server));
    let service = || {
        Invoke::of(Reference::service(V2, SERVICE), "DefineSystem").text(
            "SystemSettings",
            "<INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\"/>",
        )
    };
    for does in [Trouble::DropAfter, Trouble::DropWithin, Trouble::RestartAfter] {
        server.fault(Rule::first("Invoke", None, does));
        let error = client.invoke(&service()).await.unwrap_err();
        assert!(error.may_be_done(), "{does:?}: {error}");
        server.clear_faults();
    }
    assert_eq!(
        names(&client, MACHINES).await.unwrap().len(),
        4,
        "each was done once"
    );
    server.fault(Rule::first("Enumerate", None, Trouble::Unauthorized));
    assert_eq!(names(&client, MACHINES).await.unwrap().len(), 4);
    server.restart();
    // The client has not heard of it yet, or has.
    assert_eq!(names(&client, MACHINES).await.unwrap().len(), 4);
    server.fault(Rule::first("Pull", None, Trouble::TimeOut));
    let pages = client_of_pages(over_http(&server), 1);
    assert_eq!(names(&pages, MACHINES).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_made_and_deleted_and_faults_have_their_kinds() {
    let server = with(1, |_| {}).await;
    let client = client(over_https(&server, negotiate(PASSWORD)));
    let class = ResourceUri::class(Namespace("root/standardcimv2"), "MSFT_NetNat");
    let properties: [(&str, Value); 1] = [("Name", Value::One("lab".into()))];
    let made = client.create(&class, &properties).await.unwrap();
    assert_eq!(made.selector("InstanceID"), Some("lab;0"));
    client.delete(&made).await.unwrap();
    assert_eq!(
        client.delete(&made).await.unwrap_err().fault(),
        Some(FaultKind::NotFound)
    );
    server.fault(Rule::first("Enumerate", None, Trouble::Deny));
    assert_eq!(
        names(&client, MACHINES).await.unwrap_err().fault(),
        Some(FaultKind::AccessDenied)
    );
}

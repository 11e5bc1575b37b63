//! Faults on demand, the log, and the order of requests on a connection.

use std::time::{Duration, Instant};

use labyard_hyperv_double::wire::{Matching, Nth, Rule, Trouble};

use crate::raw::{
    Line, PASSWORD, USER, ask, ask_as, basic, between, enumerate, envelope, fault, open, pull, request, with,
    wql,
};
use crate::shelf::{SERVICE, V2};

const MACHINES: &str = "root/virtualization/v2/Msvm_ComputerSystem";

fn define() -> String {
    let uri = format!("{}{V2}/{SERVICE}", crate::raw::WMI);
    let body = format!(
        "<p:DefineSystem_INPUT xmlns:p='{uri}'><p:SystemSettings>&lt;INSTANCE CLASSNAME=\"Msvm_VirtualSystemSettingData\"/&gt;\
         </p:SystemSettings></p:DefineSystem_INPUT>"
    );
    let selectors = crate::raw::selectors(&[("CreationClassName", SERVICE)]);
    envelope(&format!("{uri}/DefineSystem"), &uri, &selectors, &body)
}

fn on_define(does: Trouble) -> Rule {
    Rule::first("Invoke", Some("DefineSystem"), does)
}

async fn machines(server: &labyard_hyperv_double::wire::Server) -> usize {
    let query = wql(V2, "SELECT Name FROM Msvm_ComputerSystem");
    ask(server, &query).await.body.matches("<w:XmlFragment").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_dropped_before_within_or_after_what_is_done() {
    for (does, done) in [
        (Trouble::DropBefore, 1),
        (Trouble::DropAfter, 2),
        (Trouble::DropWithin, 2),
        (Trouble::RestartBefore, 1),
        (Trouble::RestartAfter, 2),
    ] {
        let server = open(0).await;
        server.fault(on_define(does));
        assert!(ask_as(&server, USER, &define()).await.is_none(), "{does:?}");
        assert_eq!(machines(&server).await, done, "{does:?}");
        assert!(
            ask(&server, &define()).await.body.contains(">0</p:ReturnValue>"),
            "it happens once"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_made_on_demand() {
    let server = open(3).await;
    for (does, status, number) in [
        (Trouble::Deny, 500, 5),
        (Trouble::Quota, 500, 2_150_858_815),
        (Trouble::Wmi(0x8004_1001), 500, 0x8004_1001),
        (Trouble::TimeOut, 500, 2_150_858_793),
        (Trouble::Status(503), 503, 0),
        (Trouble::Unauthorized, 401, 0),
    ] {
        server.fault(Rule {
            on: Matching {
                class: Some("msvm_computersystem".into()),
                ..Matching::default()
            },
            nth: Nth::Only(1),
            does,
        });
        let answer = ask(&server, &enumerate(MACHINES, "")).await;
        assert_eq!((answer.status, fault(&answer).1), (status, number), "{does:?}");
        server.clear_faults();
    }
    server.fault(Rule::first("Enumerate", None, Trouble::Empty));
    assert_eq!((machines(&server).await, machines(&server).await), (0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delayed_beyond_its_time_is_timed_out_and_its_context_lives_on() {
    let server = open(1).await;
    let context = ask(&server, &enumerate(MACHINES, "")).await.body;
    let context = between(&context, "<n:EnumerationContext>", "<")
        .unwrap()
        .to_owned();
    server.fault(Rule::first("Pull", None, Trouble::Delay(60_000)));
    let hurried = pull(MACHINES, &context, "").replace(
        "<a:MessageID>",
        "<w:OperationTimeout>PT0.2S</w:OperationTimeout><a:MessageID>",
    );
    let began = Instant::now();
    let late = ask(&server, &hurried).await;
    assert_eq!(fault(&late), ("w:TimedOut".into(), 2_150_858_793));
    assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(20));
    assert!(
        ask(&server, &pull(MACHINES, &context, ""))
            .await
            .body
            .contains("<p:Name>")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_enumerations_and_keeps_machines() {
    let server = open(2).await;
    let context = ask(&server, &enumerate(MACHINES, "")).await.body;
    let context = between(&context, "<n:EnumerationContext>", "<")
        .unwrap()
        .to_owned();
    server.restart();
    assert_eq!(
        fault(&ask(&server, &pull(MACHINES, &context, "")).await).0,
        "n:InvalidEnumerationContext"
    );
    assert_eq!(machines(&server).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_what_was_asked() {
    let server = open(1).await;
    ask(&server, &define()).await;
    machines(&server).await;
    let log = server.log();
    assert_eq!(log.len(), 2);
    assert_eq!(
        (log[0].verb, log[0].method.as_str(), log[0].about.as_str()),
        ("Invoke", "DefineSystem", &*format!("CreationClassName={SERVICE}"))
    );
    assert_eq!(
        (log[1].class.as_str(), log[1].about.as_str()),
        ("Msvm_ComputerSystem", "SELECT Name FROM Msvm_ComputerSystem")
    );
    assert!(log.iter().all(|entry| entry.bytes_in > 500
        && entry.bytes_out > 500
        && entry.status == 200
        && entry.user == USER));
    assert_eq!((server.count("Enumerate"), server.count("Pull")), (1, 0));
    server.forget_log();
    assert_eq!(server.log().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_at_once_on_a_connection_are_refused() {
    let server = open(1).await;
    let address = server.http().unwrap();
    // In one piece, and the second while the first is still worked on.
    server.fault(Rule {
        on: Matching::default(),
        nth: Nth::From(1),
        does: Trouble::Delay(300),
    });
    for pause in [None, Some(Duration::from_millis(50))] {
        let answers = tokio::task::spawn_blocking(move || {
            let mut line = Line::to(address);
            let one = request(&basic(USER, PASSWORD), &enumerate(MACHINES, ""));
            match pause {
                None => line.send(&[one.clone(), one].concat()),
                Some(pause) => {
                    line.send(&one);
                    std::thread::sleep(pause);
                    line.send(&one);
                }
            }
            (
                line.receive().unwrap().status,
                line.receive().map(|answer| answer.status),
                line.receive().is_none(),
            )
        });
        assert_eq!(answers.await.unwrap(), (200, Some(401), true), "{pause:?}");
    }
    // One after the other is fine.
    let statuses = tokio::task::spawn_blocking(move || {
        let mut line = Line::to(address);
        let ask = |line: &mut Line| {
            line.send(&request(&basic(USER, PASSWORD), &enumerate(MACHINES, "")));
            line.receive().unwrap().status
        };
        [ask(&mut line), ask(&mut line), ask(&mut line)]
    });
    assert_eq!(statuses.await.unwrap(), [200; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_told_what_is_offered_and_nothing_in_the_clear() {
    let server = with(0, |_| {}).await;
    let answer = ask_as(&server, USER, &enumerate(MACHINES, "")).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(
        answer.head.contains("www-authenticate: negotiate") && !answer.head.contains("basic"),
        "{}",
        answer.head
    );
    assert_eq!(answer.body, "");
    let identify = "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope'><s:Header/><s:Body>\
                    <i:Identify xmlns:i='http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd'/></s:Body></s:Envelope>";
    let address = server.http().unwrap();
    let told = tokio::task::spawn_blocking(move || {
        let mut line = Line::to(address);
        line.send(&request("WSMANIDENTIFY: unauthenticated\r\n", identify));
        line.receive().unwrap()
    });
    let told = told.await.unwrap();
    assert!(
        told.status == 200 && told.body.contains("OS: 0.0.0 SP: 0.0 Stack: 3.0"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_and_operations_than_allowed() {
    let server = with(0, |config| {
        config.offers.basic = true;
        config.unencrypted = labyard_hyperv_double::wire::Unencrypted::Allowed;
        config.limits.connections = 1;
        config.limits.operations = 0;
    })
    .await;
    let answer = ask(&server, &enumerate(MACHINES, "")).await;
    assert_eq!(fault(&answer), ("w:QuotaLimit".into(), 2_150_858_815));
    let address = server.http().unwrap();
    let refused = tokio::task::spawn_blocking(move || {
        // Whoever is first holds the only place, once that of before is given back.
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut first = Line::to(address);
        loop {
            first.send(&request(&basic(USER, PASSWORD), &enumerate(MACHINES, "")));
            if first.receive().is_some() {
                break;
            }
            assert!(Instant::now() < deadline, "no place was given back");
            first = Line::to(address);
        }
        let mut second = Line::to(address);
        second.receive().is_none()
    });
    assert!(refused.await.unwrap());
}

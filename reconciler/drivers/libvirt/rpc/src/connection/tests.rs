//! The connection against a scripted peer.

mod gate;

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::*;
use crate::procedure as p;
use crate::testing::{Peer, connected, encoded, error_payload, opening};
use crate::uri::ConnectUri;
use crate::{ConnectError, DomainRef, Uuid, Version};

fn domain() -> DomainRef {
    DomainRef::new("vm", Uuid::from_bytes([1; 16]))
}

#[tokio::test]
async fn opening_asks_in_the_order_that_the_daemon_expects() {
    let (connection, heard) = opening("qemu:///session?socket=/x&mode=ro", |mut peer| async move {
        peer.answer_next(&p::AUTH_LIST, &vec![2i32]).await;
        peer.answer_next(&p::AUTH_POLKIT, &1i32).await;
        peer.answer_next(&p::CONNECT_SUPPORTS_FEATURE, &1i32).await;
        let open = peer.hear_call(&p::CONNECT_OPEN).await;
        peer.answer(&p::CONNECT_OPEN, open.serial, &()).await;
        let close_callback = peer.hear_call(&p::CONNECT_REGISTER_CLOSE_CALLBACK).await;
        peer.refuse(&p::CONNECT_REGISTER_CLOSE_CALLBACK, close_callback.serial, 3)
            .await;
        (open.payload, peer)
    })
    .await;
    assert_eq!(connection.unwrap().calls().total(), 5);
    assert_eq!(heard.0, encoded(&(Some("qemu:///session"), 1u32)));
}

#[tokio::test]
async fn an_authentication_that_is_not_offered_here_is_named() {
    let (connection, _peer) = opening("qemu:///system", |mut peer| async move {
        peer.answer_next(&p::AUTH_LIST, &vec![1i32]).await;
        peer
    })
    .await;
    assert!(
        matches!(connection, Err(Error::Connect(ConnectError::Auth { .. }))),
        "{connection:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_takes_the_connection_and_is_silent_is_given_up() {
    let (connection, _peer) = opening("qemu:///system", |peer| async move { peer }).await;
    let error = connection.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout { .. } | Error::Connect(ConnectError::Silent { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_named() {
    let uri: ConnectUri = "qemu:///system?socket=/nonexistent/libvirt-sock".parse().unwrap();
    let error = Connection::open(&uri, &ConnectOptions::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/nonexistent/libvirt-sock"), "{error}");
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let (connection, mut peer) = connected().await;
    let script = async {
        let one = peer.hear_call(&p::CONNECT_GET_HOSTNAME).await.serial;
        let two = peer.hear_call(&p::CONNECT_GET_LIB_VERSION).await.serial;
        peer.answer(&p::CONNECT_GET_LIB_VERSION, two, &11_003_000u64)
            .await;
        peer.answer(&p::CONNECT_GET_HOSTNAME, one, &"host").await;
    };
    let (name, version, ()) = tokio::join!(
        connection.connect_get_hostname(),
        connection.connect_get_lib_version(),
        script
    );
    assert_eq!(name.unwrap(), "host");
    assert_eq!(version.unwrap(), Version::new(11, 3, 0));
}

#[tokio::test]
async fn libvirts_own_error_reaches_the_caller() {
    let (connection, mut peer) = connected().await;
    let script = async {
        let serial = peer.hear_call(&p::DOMAIN_LOOKUP_BY_NAME).await.serial;
        peer.refuse(&p::DOMAIN_LOOKUP_BY_NAME, serial, 42).await;
    };
    let (outcome, ()) = tokio::join!(connection.domain_lookup_by_name("vm"), script);
    let error = outcome.unwrap_err();
    assert!(error.is_no_domain() && !error.is_busy() && !error.outcome_unknown());
    assert_eq!(
        error.to_string(),
        "DOMAIN_LOOKUP_BY_NAME: refused by the script (libvirt error 42/10)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_dropped_and_the_connection_goes_on() {
    let (connection, mut peer) = connected().await;
    let hasty = connection.within(Duration::from_millis(100));
    let error = hasty.connect_get_hostname().await.unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. }) && error.outcome_unknown(),
        "{error}"
    );
    let late = peer.hear_call(&p::CONNECT_GET_HOSTNAME).await.serial;
    let script = async {
        peer.answer(&p::CONNECT_GET_HOSTNAME, late, &"late").await;
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"in time").await;
    };
    let (name, ()) = tokio::join!(connection.connect_get_hostname(), script);
    assert_eq!(name.unwrap(), "in time");
}

#[tokio::test]
async fn a_connection_lost_in_mid_call_says_so_with_the_procedure() {
    let (connection, mut peer) = connected().await;
    let script = async {
        peer.hear_call(&p::DOMAIN_SUSPEND).await;
        drop(peer);
    };
    let domain = domain();
    let (outcome, ()) = tokio::join!(connection.domain_suspend(&domain), script);
    let error = outcome.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::ConnectionLost {
                procedure: "DOMAIN_SUSPEND",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.outcome_unknown() && error.is_disconnect());
    let after = connection.domain_suspend(&domain).await.unwrap_err();
    assert!(
        matches!(after, Error::Closed { .. }) && !after.outcome_unknown(),
        "{after}"
    );
}

#[tokio::test]
async fn closing_ends_the_calls_of_all_clones() {
    let (connection, mut peer) = connected().await;
    let clone = connection.clone();
    let waiting = tokio::spawn(async move { clone.connect_get_hostname().await });
    peer.hear_call(&p::CONNECT_GET_HOSTNAME).await;
    let (closed, ()) = tokio::join!(connection.close(), peer.answer_next(&p::CONNECT_CLOSE, &()));
    closed.unwrap();
    assert!(matches!(
        waiting.await.unwrap(),
        Err(Error::ConnectionLost { .. })
    ));
    assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_socket_closes_with_the_last_clone() {
    let (connection, mut peer) = connected().await;
    let clone = connection.clone();
    drop(connection);
    let (name, ()) = tokio::join!(
        clone.connect_get_hostname(),
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host")
    );
    name.unwrap();
    drop(clone);
    assert_eq!(peer.stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_own_call_only() {
    let (connection, mut peer) = connected().await;
    let script = async {
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &u32::MAX).await;
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
    };
    let calls = async {
        let first = connection.connect_get_hostname().await.unwrap_err();
        assert!(
            matches!(first, Error::Decode { .. }) && first.outcome_unknown(),
            "{first}"
        );
        assert_eq!(connection.connect_get_hostname().await.unwrap(), "host");
    };
    tokio::join!(calls, script);
}

#[tokio::test]
async fn garbage_ends_the_connection_with_its_reason() {
    let cases: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
        &[
            0, 0, 0, 28, 1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0,
        ],
    ];
    for garbage in cases {
        let (connection, mut peer) = connected().await;
        let (outcome, ()) = tokio::join!(connection.connect_get_hostname(), peer.raw(garbage));
        let error = outcome.unwrap_err();
        let Error::ConnectionLost { reason, .. } = &error else {
            panic!("{error}")
        };
        assert!(matches!(**reason, LostReason::Protocol(_)), "{reason}");
    }
}

#[tokio::test]
async fn an_answer_to_another_procedure_ends_the_connection() {
    let (connection, mut peer) = connected().await;
    let script = async {
        let serial = peer.hear_call(&p::CONNECT_GET_HOSTNAME).await.serial;
        peer.answer(&p::CONNECT_GET_LIB_VERSION, serial, &1u64).await;
    };
    let (outcome, ()) = tokio::join!(connection.connect_get_hostname(), script);
    assert!(outcome.unwrap_err().is_disconnect());
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_dropped() {
    let (connection, mut peer) = connected().await;
    let script = async {
        peer.answer(&p::CONNECT_GET_HOSTNAME, 9999, &"nobody").await;
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
    };
    let (name, ()) = tokio::join!(connection.connect_get_hostname(), script);
    assert_eq!(name.unwrap(), "host");
}

#[tokio::test]
async fn what_libvirt_would_refuse_is_not_sent() {
    let (connection, mut peer) = connected().await;
    let text = "x".repeat(crate::xdr::STRING_MAX + 1);
    let error = connection.domain_lookup_by_name(&text).await.unwrap_err();
    assert!(
        matches!(error, Error::Encode { .. }) && !error.outcome_unknown(),
        "{error}"
    );
    let largest = "x".repeat(crate::xdr::STRING_MAX);
    let many: Vec<_> = (0..9)
        .map(|_| DomainRef::new(largest.clone(), Uuid::nil()))
        .collect();
    let stats = connection
        .domain_list_get_stats(&many, Default::default(), Default::default())
        .await;
    let Err(Error::Encode { source, .. }) = stats else {
        panic!("{stats:?}")
    };
    assert!(
        matches!(source, crate::xdr::EncodeError::MessageTooLong { .. }),
        "{source}"
    );
    let (name, ()) = tokio::join!(
        connection.connect_get_hostname(),
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host")
    );
    assert_eq!(name.unwrap(), "host");
}

#[tokio::test]
async fn a_large_answer_arrives_in_pieces() {
    let (connection, mut peer) = connected().await;
    let text = "é".repeat(2 * 1024 * 1024);
    let script = peer.answer_next(&p::CONNECT_GET_CAPABILITIES, &text);
    let (answer, ()) = tokio::join!(connection.connect_get_capabilities(), script);
    assert!(answer.unwrap() == text);
}

#[tokio::test(start_paused = true)]
async fn calls_that_may_wait_take_turns_and_quick_ones_pass_them() {
    let (connection, mut peer) = connected().await;
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let connection = connection.clone();
        waiting.spawn(async move { connection.domain_get_info(&domain()).await });
    }
    let mut serials = Vec::new();
    for _ in 0..4 {
        serials.push(peer.hear_call(&p::DOMAIN_GET_INFO).await.serial);
    }
    let (name, ()) = tokio::join!(
        connection.connect_get_hostname(),
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host")
    );
    name.unwrap();
    // The abandoned call keeps its place, because the daemon still works on it.
    let hasty = connection.within(Duration::from_millis(10));
    assert!(matches!(
        hasty.domain_get_info(&domain()).await,
        Err(Error::NotSent { .. })
    ));
    peer.refuse(&p::DOMAIN_GET_INFO, serials[0], 68).await;
    peer.hear_call(&p::DOMAIN_GET_INFO).await;
    assert!(waiting.join_next().await.unwrap().unwrap().unwrap_err().is_busy());
}

#[tokio::test]
async fn pings_are_answered() {
    let (_connection, mut peer) = connected().await;
    peer.say(frame::Header::keepalive(p::keepalive::PING), &[]).await;
    let heard = peer.hear().await;
    assert_eq!(
        (heard.procedure, heard.kind, heard.serial),
        (p::keepalive::PONG, 2, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_may_take_its_time() {
    let (connection, mut peer) = connected().await;
    let patient = connection.within(Duration::from_secs(120));
    let script = async {
        let serial = peer.hear_call(&p::CONNECT_GET_HOSTNAME).await.serial;
        for _ in 0..10 {
            assert_eq!(peer.hear().await.procedure, p::keepalive::PING);
            peer.say(frame::Header::keepalive(p::keepalive::PONG), &[]).await;
        }
        peer.answer(&p::CONNECT_GET_HOSTNAME, serial, &"host").await;
    };
    let (name, ()) = tokio::join!(patient.connect_get_hostname(), script);
    assert_eq!(name.unwrap(), "host");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_is_given_up() {
    let (connection, _peer) = connected().await;
    let patient = connection.within(Duration::from_secs(3600));
    let started = Instant::now();
    let error = patient.connect_get_hostname().await.unwrap_err();
    let Error::ConnectionLost { reason, .. } = &error else {
        panic!("{error}")
    };
    assert!(matches!(**reason, LostReason::Silent { .. }), "{reason}");
    // An interval of five seconds, two pings, and the part of an interval before the call.
    assert!(
        started.elapsed() <= Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_daemon_behind_a_proxy_that_went_away_ends_the_connection() {
    let (connection, mut peer) = connected().await;
    let reason = encoded(&(1i32,));
    let script = peer.event(p::message::CONNECTION_CLOSED, &reason);
    let (outcome, ()) = tokio::join!(connection.connect_get_hostname(), script);
    assert!(outcome.unwrap_err().is_disconnect());
}

#[tokio::test]
async fn calls_are_counted_by_procedure() {
    let (connection, mut peer) = connected().await;
    let before = connection.calls();
    let script = async {
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
    };
    let calls = async {
        connection.connect_get_hostname().await.unwrap();
        connection.connect_get_hostname().await.unwrap();
    };
    tokio::join!(calls, script);
    let made = connection.calls().since(&before);
    assert_eq!(made.iter().collect::<Vec<_>>(), [("CONNECT_GET_HOSTNAME", 2)]);
    assert_eq!(
        (
            made.get("CONNECT_GET_HOSTNAME"),
            made.get("DOMAIN_CREATE_XML"),
            made.total()
        ),
        (2, 0, 2)
    );
}

#[tokio::test]
async fn a_network_update_follows_the_order_that_the_daemon_takes() {
    use crate::flags::Affect;
    use crate::{NetworkRef, NetworkSection, NetworkUpdate, NetworkUpdateCommand};
    for (feature, words) in [(1i32, [3i32, 4]), (0, [4, 3])] {
        let (connection, mut peer) = connected().await;
        let network = NetworkRef::new("n", Uuid::nil());
        let update = NetworkUpdate {
            command: NetworkUpdateCommand::AddLast,
            section: NetworkSection::IpDhcpHost,
            parent: None,
            xml: "<host/>",
        };
        let script = async {
            peer.answer_next(&p::CONNECT_SUPPORTS_FEATURE, &feature).await;
            let heard = peer.hear_call(&p::NETWORK_UPDATE).await;
            peer.answer(&p::NETWORK_UPDATE, heard.serial, &()).await;
            heard.payload
        };
        let (outcome, payload) =
            tokio::join!(connection.network_update(&network, update, Affect::LIVE), script);
        outcome.unwrap();
        assert_eq!(
            payload,
            encoded(&(&network, words[0], words[1], -1i32, "<host/>", 1u32))
        );
    }
}

/// Feeds bytes to a connection that has a stream and a call open; both must end, well or not.
async fn feed(bytes: &[u8]) {
    let (connection, mut peer) = connected().await;
    let volume = crate::VolRef::new("pool", "vol");
    let script = peer.answer_next(&p::STORAGE_VOL_DOWNLOAD, &());
    let (download, ()) = tokio::join!(connection.storage_vol_download(&volume, 0, None), script);
    let mut download = download.unwrap();
    let script = async {
        peer.hear_call(&p::CONNECT_GET_HOSTNAME).await;
        peer.raw(bytes).await;
        drop(peer);
    };
    let reading = async { while let Ok(Some(_)) = download.next().await {} };
    let all = async { tokio::join!(connection.connect_get_hostname(), reading, script) };
    let (_either_way, (), ()) = timeout(Duration::from_secs(5), all)
        .await
        .expect("the call must end");
}

/// Frames of known shape with unexpected numbers in them.
fn odd_frame() -> impl Strategy<Value = Vec<u8>> {
    let program = prop_oneof![
        Just(0x2000_8086u32),
        Just(0x6b65_6570),
        Just(0x2000_8087),
        any::<u32>()
    ];
    let words = (program, 0..3u32, 0..400u32, 0..8u32, 0..8u32, 0..4u32);
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        Just(error_payload(42, "text")),
        Just(encoded(&"host")),
    ];
    (words, payload, -8i64..8).prop_map(
        |((program, version, procedure, kind, serial, status), payload, lie)| {
            let length =
                u32::try_from((28 + payload.len() as i64 + if lie.abs() > 6 { lie } else { 0 }).max(0))
                    .unwrap();
            let words = [length, program, version, procedure, kind, serial, status];
            words
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .chain(payload)
                .collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_input_makes_a_connection_panic_or_hang(frames in proptest::collection::vec(odd_frame(), 1..6), tail in proptest::collection::vec(any::<u8>(), 0..64)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bytes: Vec<u8> = frames.into_iter().flatten().chain(tail).collect();
        runtime.block_on(feed(&bytes));
    }
}

#[tokio::test]
async fn subscribers_get_the_kinds_they_asked_for() {
    use crate::event::{DomainChange, Event, EventKind};
    let (connection, mut peer) = connected().await;
    let script = async {
        let heard = peer
            .hear_call(&p::CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY)
            .await;
        assert_eq!(heard.payload, encoded(&(18i32, None::<DomainRef>)));
        peer.answer(
            &p::CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY,
            heard.serial,
            &1i32,
        )
        .await;
        peer.answer_next(&p::CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, &2i32)
            .await;
    };
    let kinds = [EventKind::AgentLifecycle, EventKind::DomainLifecycle];
    let (both, ()) = tokio::join!(connection.subscribe(&kinds), script);
    let mut both = both.unwrap();
    // Asked for once; the second subscription of the kind needs no call.
    let mut agents = connection.subscribe(&kinds[..1]).await.unwrap();

    peer.event(
        p::message::DOMAIN_EVENT_LIFECYCLE,
        &encoded(&(2i32, domain(), 2i32, 0i32)),
    )
    .await;
    peer.event(p::message::DOMAIN_EVENT_LIFECYCLE, b"not an event")
        .await;
    peer.event(9999, b"").await;
    peer.event(
        p::message::DOMAIN_EVENT_AGENT_LIFECYCLE,
        &encoded(&(1i32, domain(), 1i32, 2i32)),
    )
    .await;
    let started = Event::DomainLifecycle {
        domain: domain(),
        change: DomainChange::Started,
        detail: 0,
    };
    assert_eq!(both.next().await, Some(started));
    assert_eq!(
        both.next().await.and_then(|event| event.kind()),
        Some(EventKind::AgentLifecycle)
    );
    assert_eq!(
        agents.next().await.and_then(|event| event.kind()),
        Some(EventKind::AgentLifecycle)
    );

    drop(peer);
    assert_eq!(agents.next().await, None);
    assert!(
        connection
            .subscribe(&kinds[..1])
            .await
            .unwrap()
            .next()
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_is_told_so() {
    use crate::event::{Event, EventKind};
    let (connection, mut peer) = connected().await;
    let script = peer.answer_next(&p::CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, &1i32);
    let (slow, ()) = tokio::join!(connection.subscribe(&[EventKind::DomainReboot]), script);
    let mut slow = slow.unwrap();
    for _ in 0..1100 {
        peer.event(p::message::DOMAIN_EVENT_REBOOT, &encoded(&(1i32, domain())))
            .await;
    }
    sync(&connection, &mut peer).await;
    assert!(matches!(slow.next().await, Some(Event::Missed { count: 76 })));
    assert!(matches!(slow.next().await, Some(Event::DomainReboot { .. })));
}

/// Waits until the connection has taken in all that the peer said before.
async fn sync(connection: &Connection, peer: &mut Peer) {
    let (name, ()) = tokio::join!(
        connection.connect_get_hostname(),
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host")
    );
    name.unwrap();
}

//! Streams against a scripted peer.

use std::num::NonZeroU64;
use std::time::Duration;

use super::*;
use crate::VolRef;
use crate::connection::frame::Status;
use crate::flags::ConsoleFlags;
use crate::procedure as p;
use crate::testing::{Heard, Peer, connected, encoded, error_payload, filler};
use crate::{DomainRef, Uuid};

const STREAM: u32 = 3;

async fn upload(length: u64) -> (Upload, Connection, Peer, u32) {
    let (connection, mut peer) = connected().await;
    let volume = VolRef::new("pool", "vol");
    let length = NonZeroU64::new(length).unwrap();
    let script = async {
        let call = peer.hear_call(&p::STORAGE_VOL_UPLOAD).await;
        assert_eq!(call.payload, encoded(&(&volume, 0u64, length.get(), 0u32)));
        peer.answer(&p::STORAGE_VOL_UPLOAD, call.serial, &()).await;
        call.serial
    };
    let (upload, serial) = tokio::join!(connection.storage_vol_upload(&volume, 0, length), script);
    (upload.unwrap(), connection, peer, serial)
}

async fn download(length: Option<u64>) -> (Download, Connection, Peer, u32) {
    let (connection, mut peer) = connected().await;
    let volume = VolRef::new("pool", "vol");
    let length = length.and_then(NonZeroU64::new);
    let script = async {
        let serial = peer.hear_call(&p::STORAGE_VOL_DOWNLOAD).await.serial;
        peer.answer(&p::STORAGE_VOL_DOWNLOAD, serial, &()).await;
        serial
    };
    let (download, serial) = tokio::join!(connection.storage_vol_download(&volume, 0, length), script);
    (download.unwrap(), connection, peer, serial)
}

fn shape(heard: &Heard) -> (u32, u32, u32) {
    (heard.kind, heard.serial, heard.status)
}

#[tokio::test]
async fn an_upload_goes_in_pieces_and_ends_with_a_handshake() {
    let data = filler(600_000);
    let (mut upload, _connection, mut peer, serial) = upload(600_000).await;
    let script = async {
        let mut got = Vec::new();
        while got.len() < 600_000 {
            let heard = peer.hear().await;
            assert_eq!(shape(&heard), (STREAM, serial, Status::Continue as u32));
            assert!(heard.payload.len() + HEAD <= 256 * 1024);
            got.extend(heard.payload);
        }
        let end = peer.hear().await;
        assert_eq!(shape(&end), (STREAM, serial, Status::Ok as u32));
        assert!(end.payload.is_empty());
        peer.stream(&p::STORAGE_VOL_UPLOAD, serial, Status::Ok, &[]).await;
        got
    };
    let sending = async {
        upload.write_from(&mut &data[..]).await.unwrap();
        assert_eq!(upload.sent(), 600_000);
        upload.finish().await.unwrap();
    };
    let ((), got) = tokio::join!(sending, script);
    assert!(got == data);
}

#[tokio::test]
async fn not_a_byte_over_the_announced_length_leaves() {
    let (mut upload, _connection, mut peer, serial) = upload(10).await;
    upload.write(filler(4)).await.unwrap();
    let error = upload.write(filler(7)).await.unwrap_err();
    let Error::Stream { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        source,
        StreamError::TooLong {
            length: 10,
            surplus: 1
        }
    );
    upload.write(filler(6)).await.unwrap();
    let script = async {
        let sizes = [peer.hear().await.payload.len(), peer.hear().await.payload.len()];
        assert_eq!(sizes, [4, 6]);
        assert_eq!(peer.hear().await.status, Status::Ok as u32);
        peer.stream(&p::STORAGE_VOL_UPLOAD, serial, Status::Ok, &[]).await;
    };
    let (end, ()) = tokio::join!(upload.finish(), script);
    end.unwrap();
}

#[tokio::test]
async fn an_upload_that_is_too_short_is_aborted_instead_of_finished() {
    let (mut upload, _connection, mut peer, serial) = upload(10).await;
    upload.write(filler(4)).await.unwrap();
    let error = upload.finish().await.unwrap_err();
    let Error::Stream { source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source, StreamError::TooShort { length: 10, done: 4 });
    assert_eq!(peer.hear().await.payload.len(), 4);
    assert_eq!(shape(&peer.hear().await), (STREAM, serial, Status::Error as u32));
}

#[tokio::test]
async fn an_error_in_mid_upload_reaches_the_sender() {
    let (mut upload, _connection, mut peer, serial) = upload(1 << 40).await;
    let script = async {
        peer.hear().await;
        peer.stream(
            &p::STORAGE_VOL_UPLOAD,
            serial,
            Status::Error,
            &error_payload(38, "disk full"),
        )
        .await;
        // What is already on its way is read and thrown away, as the daemon does.
        loop {
            if peer.hear().await.kind != STREAM {
                break;
            }
        }
    };
    let sending = async {
        loop {
            if let Err(error) = upload.write(filler(100_000)).await {
                return error;
            }
            tokio::task::yield_now().await;
        }
    };
    let error = tokio::select! { error = sending => error, () = script => panic!("no error came") };
    assert_eq!(
        error.server().map(|error| error.message.as_str()),
        Some("disk full")
    );
}

#[tokio::test]
async fn an_error_at_the_end_of_an_upload_reaches_the_sender() {
    let (mut upload, _connection, mut peer, serial) = upload(4).await;
    upload.write(filler(4)).await.unwrap();
    let script = async {
        peer.hear().await;
        peer.hear().await;
        peer.stream(
            &p::STORAGE_VOL_UPLOAD,
            serial,
            Status::Error,
            &error_payload(38, "disk full"),
        )
        .await;
    };
    let (end, ()) = tokio::join!(upload.finish(), script);
    assert!(end.unwrap_err().server().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_nobody_takes_in_runs_into_its_deadline() {
    let (mut upload, _connection, _peer, _) = upload(1 << 30).await;
    let error = loop {
        if let Err(error) = upload.write(filler(1 << 20)).await {
            break error;
        }
    };
    assert!(
        matches!(
            error,
            Error::Timeout {
                procedure: "STORAGE_VOL_UPLOAD",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_upload_cut_off_says_that_the_connection_is_lost() {
    let (mut upload, _connection, peer, _) = upload(1 << 30).await;
    drop(peer);
    let error = loop {
        if let Err(error) = upload.write(filler(1 << 20)).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(matches!(error, Error::ConnectionLost { .. }), "{error}");
}

#[tokio::test]
async fn a_download_ends_with_an_empty_piece_and_a_handshake() {
    let (mut download, _connection, mut peer, serial) = download(None).await;
    let script = async {
        for size in [5, 7, 0] {
            peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Continue, &filler(size))
                .await;
        }
        assert_eq!(shape(&peer.hear().await), (STREAM, serial, Status::Ok as u32));
        peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Ok, &[])
            .await;
    };
    let reading = async {
        assert_eq!(download.next().await.unwrap().unwrap().len(), 5);
        assert_eq!(download.next().await.unwrap().unwrap().len(), 7);
        assert_eq!(download.next().await.unwrap(), None);
        assert_eq!(download.next().await.unwrap(), None);
    };
    tokio::join!(reading, script);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_never_agrees_to_an_end_does_not_keep_it_waiting() {
    let (mut upload, _connection, mut peer, serial) = upload(4).await;
    upload.write(filler(4)).await.unwrap();
    let script = async {
        loop {
            peer.stream(&p::STORAGE_VOL_UPLOAD, serial, Status::Continue, b"more")
                .await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let end = tokio::select! { end = upload.finish() => end, () = script => Ok(()) };
    assert!(matches!(end, Err(Error::Timeout { .. })), "{end:?}");
}

#[tokio::test]
async fn more_than_was_asked_for_is_an_error() {
    let (mut download, _connection, mut peer, serial) = download(Some(8)).await;
    peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Continue, &filler(9))
        .await;
    let error = download.next().await.unwrap_err();
    assert!(matches!(
        error,
        Error::Stream {
            source: StreamError::TooLong {
                length: 8,
                surplus: 1
            },
            ..
        }
    ));
    drop(download);
    assert_eq!(shape(&peer.hear().await), (STREAM, serial, Status::Error as u32));
}

#[tokio::test]
async fn an_end_before_the_asked_length_is_an_error() {
    let (mut download, _connection, mut peer, serial) = download(Some(8)).await;
    peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Continue, &filler(3))
        .await;
    peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Continue, &[])
        .await;
    assert!(download.next().await.unwrap().is_some());
    let error = download.next().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Stream {
                source: StreamError::TooShort { length: 8, done: 3 },
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_download_given_up_is_aborted_and_what_still_comes_is_dropped() {
    let (download, connection, mut peer, serial) = download(None).await;
    download.abort();
    assert_eq!(shape(&peer.hear().await), (STREAM, serial, Status::Error as u32));
    peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Continue, &filler(9))
        .await;
    peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Ok, &[])
        .await;
    let (name, ()) = tokio::join!(
        connection.connect_get_hostname(),
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host")
    );
    name.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_does_not_read_loses_its_stream_and_not_the_connection() {
    let (mut download, connection, mut peer, serial) = download(None).await;
    let script = async {
        for _ in 0..20 {
            peer.stream(&p::STORAGE_VOL_DOWNLOAD, serial, Status::Continue, &filler(9))
                .await;
        }
        let heard = loop {
            let heard = peer.hear().await;
            if heard.kind == STREAM {
                break heard;
            }
        };
        assert_eq!(shape(&heard), (STREAM, serial, Status::Error as u32));
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
    };
    let patient = connection.within(Duration::from_secs(60));
    let call = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        patient.connect_get_hostname().await
    };
    let (name, ()) = tokio::join!(call, script);
    assert_eq!(name.unwrap(), "host");
    let error = loop {
        match download.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            Error::Stream {
                source: StreamError::TooSlow,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_stream_opened_too_late_for_its_caller_is_aborted() {
    let (connection, mut peer) = connected().await;
    let hasty = connection.within(Duration::from_millis(50));
    let volume = VolRef::new("pool", "vol");
    let late = hasty.storage_vol_download(&volume, 0, None).await.unwrap_err();
    assert!(matches!(late, Error::Timeout { .. }), "{late}");
    let serial = peer.hear_call(&p::STORAGE_VOL_DOWNLOAD).await.serial;
    peer.answer(&p::STORAGE_VOL_DOWNLOAD, serial, &()).await;
    assert_eq!(shape(&peer.hear().await), (STREAM, serial, Status::Error as u32));
}

#[tokio::test]
async fn a_console_carries_bytes_both_ways_until_the_guest_is_gone() {
    let (connection, mut peer) = connected().await;
    let domain = DomainRef::new("vm", Uuid::nil());
    let script = async {
        let serial = peer.hear_call(&p::DOMAIN_OPEN_CONSOLE).await.serial;
        peer.answer(&p::DOMAIN_OPEN_CONSOLE, serial, &()).await;
        peer.stream(&p::DOMAIN_OPEN_CONSOLE, serial, Status::Continue, b"login: ")
            .await;
        let heard = peer.hear().await;
        assert_eq!(
            (shape(&heard), &heard.payload[..]),
            ((STREAM, serial, 2), &b"root\n"[..])
        );
        peer.stream(&p::DOMAIN_OPEN_CONSOLE, serial, Status::Continue, &[])
            .await;
        assert_eq!(peer.hear().await.status, Status::Error as u32);
    };
    let using = async {
        let mut console = connection
            .domain_open_console(&domain, None, ConsoleFlags::empty())
            .await
            .unwrap();
        assert_eq!(console.read().await.unwrap().as_deref(), Some(&b"login: "[..]));
        console.write(Bytes::from_static(b"root\n")).await.unwrap();
        assert_eq!(console.read().await.unwrap(), None);
        console.close();
    };
    tokio::join!(using, script);
}

#[tokio::test]
async fn a_console_is_typed_into_while_somebody_reads() {
    let (connection, mut peer) = connected().await;
    let domain = DomainRef::new("vm", Uuid::nil());
    let script = async {
        let serial = peer.hear_call(&p::DOMAIN_OPEN_CONSOLE).await.serial;
        peer.answer(&p::DOMAIN_OPEN_CONSOLE, serial, &()).await;
        // It says nothing before it was typed into twice: whoever reads waits all the while.
        for keys in [&b"ro"[..], b"ot"] {
            let heard = peer.hear().await;
            assert_eq!((shape(&heard), &heard.payload[..]), ((STREAM, serial, 2), keys));
        }
        peer.stream(&p::DOMAIN_OPEN_CONSOLE, serial, Status::Continue, b"root")
            .await;
    };
    let using = async {
        let mut console = connection
            .domain_open_console(&domain, None, ConsoleFlags::SAFE)
            .await
            .unwrap();
        let keyboard = console.keyboard();
        let typing = async {
            keyboard.press(Bytes::from_static(b"ro")).await.unwrap();
            keyboard.press(Bytes::from_static(b"ot")).await.unwrap();
        };
        let (read, ()) = tokio::join!(console.read(), typing);
        assert_eq!(read.unwrap().as_deref(), Some(&b"root"[..]));
        console
    };
    // Let go only when all was heard.
    let (console, ()) = tokio::join!(using, script);
    drop(console);
}

#[tokio::test]
async fn a_console_that_fails_says_why_and_nothing_is_typed_into_it_any_more() {
    let (connection, mut peer) = connected().await;
    let domain = DomainRef::new("vm", Uuid::nil());
    let script = async {
        let serial = peer.hear_call(&p::DOMAIN_OPEN_CONSOLE).await.serial;
        peer.answer(&p::DOMAIN_OPEN_CONSOLE, serial, &()).await;
        let failure = error_payload(38, "stream had I/O failure");
        peer.stream(&p::DOMAIN_OPEN_CONSOLE, serial, Status::Error, &failure)
            .await;
        // Of the stream nothing more is said: neither keys nor an abort.
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
    };
    let using = async {
        let mut console = connection
            .domain_open_console(&domain, None, ConsoleFlags::FORCE)
            .await
            .unwrap();
        let keyboard = console.keyboard();
        let failed = console.read().await.unwrap_err();
        assert!(matches!(failed, Error::Server { .. }), "{failed}");
        assert_eq!(console.read().await.unwrap(), None, "it is over");
        let late = keyboard.press(Bytes::from_static(b"x")).await.unwrap_err();
        assert!(
            matches!(
                late,
                Error::Stream {
                    source: StreamError::EndedEarly,
                    ..
                }
            ),
            "{late}"
        );
        drop(console);
        connection.connect_get_hostname().await.unwrap();
    };
    tokio::join!(using, script);
}

#[tokio::test]
async fn a_console_that_was_let_go_is_not_typed_into() {
    let (connection, mut peer) = connected().await;
    let domain = DomainRef::new("vm", Uuid::nil());
    let script = async {
        let serial = peer.hear_call(&p::DOMAIN_OPEN_CONSOLE).await.serial;
        peer.answer(&p::DOMAIN_OPEN_CONSOLE, serial, &()).await;
        assert_eq!(shape(&peer.hear().await), (STREAM, serial, Status::Error as u32));
        peer.answer_next(&p::CONNECT_GET_HOSTNAME, &"host").await;
    };
    let using = async {
        let console = connection
            .domain_open_console(&domain, None, ConsoleFlags::empty())
            .await
            .unwrap();
        let keyboard = console.keyboard();
        console.close();
        assert!(keyboard.press(Bytes::from_static(b"x")).await.is_err());
        connection.connect_get_hostname().await.unwrap();
    };
    tokio::join!(using, script);
}

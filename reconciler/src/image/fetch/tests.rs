use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::TryStreamExt;
use rcgen::{BasicConstraints, IsCa};
use tokio::time::Instant;

use crate::image::error::{ConnectStage, Wait};
use crate::image::testing::{Reply, Server, answer, ok, serve, serve_tls, serve_tls_with};
use crate::image::{
    Fault, Fetcher, ImageFormat, ImageSource, Limits, OpenImage, Options, Proxies, Reach, Sha256Digest,
    StreamedSource,
};

const SECOND: Duration = Duration::from_secs(1);

fn quick() -> Options {
    Options {
        limits: Limits {
            connect: SECOND * 5,
            idle: SECOND,
            ..Limits::default()
        },
        proxies: Proxies::Off,
        ..Options::default()
    }
}

fn source(text: &str) -> StreamedSource {
    match text.parse() {
        Ok(ImageSource::Streamed(source)) => source,
        other => panic!("{text}: {other:?}"),
    }
}

fn url(server: &Server, path: &str) -> StreamedSource {
    source(&format!("http://{}{path}", server.address))
}

async fn open(from: &StreamedSource, expected: Option<&[u8]>) -> Result<OpenImage, Fault> {
    let expected = expected.map(Sha256Digest::of);
    Fetcher::new(quick())
        .open(from, expected, None)
        .await
        .map_err(|error| error.fault)
}

/// All bytes that come, and the error that ended them.
async fn drain(mut image: OpenImage) -> (Vec<u8>, Result<(), Fault>) {
    let mut bytes = Vec::new();
    loop {
        match image.stream.try_next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error.fault)),
        }
    }
}

async fn whole(from: &StreamedSource, expected: Option<&[u8]>) -> Result<Vec<u8>, Fault> {
    let (bytes, end) = drain(open(from, expected).await?).await;
    end.map(|()| bytes)
}

fn body() -> Vec<u8> {
    (0..300_000u32).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn an_image_over_http_arrives_whole_with_length_header_and_digest() {
    let server = serve(|_| ok(body().len(), &body())).await;
    let image = open(&url(&server, "/disk.img"), Some(&body())).await.unwrap();
    assert_eq!((image.length, image.header.virtual_size), (300_000, 300_000));
    assert_eq!(image.header.format, ImageFormat::Raw);
    let digest = image.stream.digest();
    let (bytes, end) = drain(image).await;
    assert!(end.is_ok() && bytes == body());
    assert_eq!(digest.get(), Some(Sha256Digest::of(&body())));
}

#[tokio::test]
async fn the_request_asks_for_the_file_as_it_is() {
    let server = serve(|head| {
        assert!(head.starts_with("GET /a%20b?x=1 HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("accept-encoding: identity\r\n") && head.contains("host: 127.0.0.1:"),
            "{head}"
        );
        ok(1, b"x")
    })
    .await;
    assert_eq!(whole(&url(&server, "/a%20b?x=1"), None).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_server_that_sends_one_byte_more_than_it_promised_is_found_out() {
    let server = serve(|_| ok(body().len() - 1, &body())).await;
    let (bytes, end) = drain(open(&url(&server, "/"), None).await.unwrap()).await;
    assert!(
        matches!(end, Err(Fault::TooLong { promised: 299_999 })),
        "{end:?}"
    );
    assert!(bytes.len() < 299_999, "the last promised bytes were given out");
}

#[tokio::test]
async fn a_truncated_answer_is_too_short() {
    let server = serve(|_| ok(body().len() + 1, &body())).await;
    let result = whole(&url(&server, "/"), None).await;
    assert!(
        matches!(
            result,
            Err(Fault::TooShort {
                promised: 300_001,
                received: 300_000
            })
        ),
        "{result:?}"
    );
    let server = serve(|_| ok(10, b"")).await;
    let result = whole(&url(&server, "/"), None).await;
    assert!(
        matches!(
            result,
            Err(Fault::TooShort {
                promised: 10,
                received: 0
            })
        ),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_server_that_falls_silent_in_the_middle_has_stalled() {
    let server = serve(|_| {
        let Reply::Bytes(bytes) = ok(400_000, &body()) else {
            unreachable!()
        };
        Reply::ThenSilence(bytes)
    })
    .await;
    let result = whole(&url(&server, "/"), None).await;
    assert!(
        matches!(
            result,
            Err(Fault::Stalled {
                wait: Wait::Data,
                received: 300_000,
                ..
            })
        ),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_server_that_never_answers_has_stalled() {
    let server = serve(|_| Reply::ThenSilence(Vec::new())).await;
    let options = Options {
        limits: Limits {
            connect: SECOND / 2,
            ..Limits::default()
        },
        ..quick()
    };
    let result = Fetcher::new(options).open(&url(&server, "/"), None, None).await;
    assert!(matches!(
        result.unwrap_err().fault,
        Fault::Stalled {
            wait: Wait::Answer,
            ..
        }
    ));
}

#[tokio::test]
async fn the_deadline_bounds_opening_and_reading_alike() {
    let silent = serve(|_| Reply::ThenSilence(Vec::new())).await;
    let soon = || Some(Instant::now() + SECOND / 2);
    let result = Fetcher::new(quick()).open(&url(&silent, "/"), None, soon()).await;
    assert!(matches!(
        result.unwrap_err().fault,
        Fault::Deadline { received: 0 }
    ));
    let stalls = serve(|_| {
        let Reply::Bytes(bytes) = ok(400_000, &body()) else {
            unreachable!()
        };
        Reply::ThenSilence(bytes)
    })
    .await;
    let image = Fetcher::new(quick())
        .open(&url(&stalls, "/"), None, soon())
        .await
        .unwrap();
    let (_, end) = drain(image).await;
    assert!(
        matches!(end, Err(Fault::Deadline { received: 300_000 })),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_refusal_by_the_server_is_explained() {
    let server = serve(|head| match head {
        _ if head.contains("/gone") => answer("404 Not Found", "Content-Length: 0\r\n", b""),
        _ => answer("503 Busy", "Content-Length: 0\r\n", b""),
    })
    .await;
    let gone = whole(&url(&server, "/gone"), None).await.unwrap_err();
    assert!(matches!(gone, Fault::Status { status: 404 }) && !gone.is_transient());
    assert!(gone.to_string().contains("nothing at this URL"));
    let busy = whole(&url(&server, "/"), None).await.unwrap_err();
    assert!(matches!(busy, Fault::Status { status: 503 }) && busy.is_transient());
}

#[tokio::test]
async fn redirects_are_followed_also_relative_ones() {
    let server = serve(|head| match head {
        _ if head.starts_with("GET /a ") => {
            answer("302 Found", "Location: /b?x=1\r\nContent-Length: 0\r\n", b"")
        }
        _ if head.starts_with("GET /b?x=1 ") => answer("308 Moved", "Location: c\r\n\r\n", b""),
        _ => ok(2, b"hi"),
    })
    .await;
    assert_eq!(whole(&url(&server, "/a"), None).await.unwrap(), b"hi");
}

#[tokio::test]
async fn a_redirect_loop_ends_after_the_limit() {
    let server = serve(|_| answer("302 Found", "Location: /again\r\nContent-Length: 0\r\n", b"")).await;
    let result = whole(&url(&server, "/"), None).await;
    assert!(
        matches!(result, Err(Fault::TooManyRedirects { limit: 10, .. })),
        "{result:?}"
    );
    assert_eq!(server.requests.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn redirects_out_of_the_web_are_refused() {
    for location in ["file:///etc/passwd", "https://u:p@x/", ""] {
        let headers = format!("Location: {location}\r\nContent-Length: 0\r\n");
        let server = serve(move |_| answer("302 Found", &headers, b"")).await;
        let result = whole(&url(&server, "/"), None).await;
        assert!(
            matches!(result, Err(Fault::BadRedirect { .. })),
            "{location}: {result:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_digest_names_both() {
    let server = serve(|_| ok(body().len(), &body())).await;
    let result = whole(&url(&server, "/"), Some(b"other")).await;
    let Err(Fault::Digest { expected, actual }) = result else {
        panic!("{result:?}")
    };
    assert_eq!(
        (expected, actual),
        (Sha256Digest::of(b"other"), Sha256Digest::of(&body()))
    );
}

#[tokio::test]
async fn a_body_in_chunks_without_length_is_spooled_and_gets_its_length() {
    let server = serve(|_| {
        answer(
            "200 OK",
            "Transfer-Encoding: chunked\r\n",
            b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        )
    })
    .await;
    let image = open(&url(&server, "/"), Some(b"abcde")).await.unwrap();
    assert_eq!((image.length, image.header.virtual_size), (5, 5));
    let (bytes, end) = drain(image).await;
    assert!(end.is_ok() && bytes == b"abcde");
}

#[tokio::test]
async fn a_body_in_chunks_that_breaks_off_is_not_taken_for_whole() {
    let server = serve(|_| answer("200 OK", "Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n2\r\nd")).await;
    let result = whole(&url(&server, "/"), None).await;
    assert!(matches!(result, Err(Fault::BrokeOff { .. })), "{result:?}");
}

#[tokio::test]
async fn a_body_that_the_server_compressed_is_refused() {
    let server = serve(|_| {
        answer(
            "200 OK",
            "Content-Encoding: gzip\r\nContent-Length: 2\r\n",
            b"\x1f\x8b",
        )
    })
    .await;
    let result = whole(&url(&server, "/"), None).await;
    assert!(
        matches!(&result, Err(Fault::Encoded(encoding)) if encoding == "gzip"),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_compressed_file_is_refused_before_it_is_spooled() {
    let server = serve(|_| {
        let Reply::Bytes(bytes) = answer("200 OK", "Transfer-Encoding: chunked\r\n", b"50\r\n\x1f\x8b")
        else {
            unreachable!()
        };
        Reply::ThenSilence([bytes, vec![0; 0x4e], b"\r\n".to_vec()].concat())
    })
    .await;
    let result = whole(&url(&server, "/disk.img.gz"), None).await;
    assert!(matches!(result, Err(Fault::Header(_))), "{result:?}");
}

fn trusting(pem: &str, directory: &Path) -> Options {
    let bundle = directory.join("ca.pem");
    std::fs::write(&bundle, pem).unwrap();
    Options {
        extra_certificates: vec![bundle],
        ..quick()
    }
}

#[tokio::test]
async fn https_works_with_a_private_authority_and_not_without_it() {
    let (server, pem) = serve_tls(|_| ok(body().len(), &body())).await;
    let from = source(&format!("https://localhost:{}/disk.img", server.address.port()));
    let directory = tempfile::tempdir().unwrap();
    let image = Fetcher::new(trusting(&pem, directory.path()))
        .open(&from, None, None)
        .await
        .unwrap();
    let (bytes, end) = drain(image).await;
    assert!(end.is_ok() && bytes == body());
    let stranger = open(&from, None).await.unwrap_err();
    assert!(
        matches!(
            stranger,
            Fault::Connect {
                stage: ConnectStage::Tls,
                ..
            }
        ),
        "{stranger}"
    );
}

#[tokio::test]
async fn a_server_certificate_that_is_an_authority_s_is_explained() {
    let (server, pem) = serve_tls_with(IsCa::Ca(BasicConstraints::Unconstrained), |_| ok(1, b"x")).await;
    let from = source(&format!("https://localhost:{}/", server.address.port()));
    let directory = tempfile::tempdir().unwrap();
    let result = Fetcher::new(trusting(&pem, directory.path()))
        .open(&from, None, None)
        .await;
    let text = result.unwrap_err().to_string();
    assert!(text.contains("CA:FALSE"), "{text}");
}

#[tokio::test]
async fn https_notices_one_byte_more_and_a_cut_connection() {
    let directory = tempfile::tempdir().unwrap();
    for (promised, too_long) in [(body().len() - 1, true), (body().len() + 1, false)] {
        let (server, pem) = serve_tls(move |_| ok(promised, &body())).await;
        let from = source(&format!("https://localhost:{}/", server.address.port()));
        let image = Fetcher::new(trusting(&pem, directory.path()))
            .open(&from, None, None)
            .await
            .unwrap();
        let (_, end) = drain(image).await;
        let fault = end.unwrap_err();
        assert_eq!(matches!(fault, Fault::TooLong { .. }), too_long, "{fault}");
        assert_eq!(matches!(fault, Fault::TooShort { .. }), !too_long, "{fault}");
    }
}

#[tokio::test]
async fn https_is_never_left_for_http() {
    let plain = serve(|_| ok(1, b"x")).await;
    let location = format!("Location: http://{}/\r\nContent-Length: 0\r\n", plain.address);
    let (server, pem) = serve_tls(move |_| answer("301 Moved", &location, b"")).await;
    let directory = tempfile::tempdir().unwrap();
    let from = source(&format!("https://localhost:{}/", server.address.port()));
    let result = Fetcher::new(trusting(&pem, directory.path()))
        .open(&from, None, None)
        .await;
    assert!(matches!(result.unwrap_err().fault, Fault::BadRedirect { .. }));
    assert_eq!(plain.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn nobody_listening_is_told_as_such() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let from = source(&format!("http://{}/", listener.local_addr().unwrap()));
    drop(listener);
    let fault = whole(&from, None).await.unwrap_err();
    assert!(
        matches!(
            fault,
            Fault::Connect {
                stage: ConnectStage::Connect,
                ..
            }
        ) && fault.is_transient(),
        "{fault}"
    );
}

#[tokio::test]
async fn a_file_is_read_whole_and_other_things_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    std::fs::write(&path, body()).unwrap();
    let file = StreamedSource::File(path);
    assert_eq!(whole(&file, Some(&body())).await.unwrap(), body());
    let result = whole(&StreamedSource::File(directory.path().to_owned()), None).await;
    assert!(matches!(result, Err(Fault::NotAFile)), "{result:?}");
    let result = whole(&StreamedSource::File(directory.path().join("missing")), None).await;
    assert!(matches!(result, Err(Fault::Open(_))), "{result:?}");
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.img");
    std::fs::write(&path, vec![7; 2 << 20]).unwrap();
    let image = open(&StreamedSource::File(path.clone()), None).await.unwrap();
    std::fs::write(&path, vec![7; (2 << 20) + 1]).unwrap();
    let (_, end) = drain(image).await;
    assert!(
        matches!(end, Err(Fault::TooLong { promised: 2_097_152 })),
        "{end:?}"
    );
}

#[test]
fn a_request_through_a_forwarding_proxy_names_the_whole_url_and_no_other_does() {
    let url = url::Url::parse("http://images.example:8080/a?x=1").unwrap();
    let forwarded =
        super::request_for(&url, &super::Via::Forwarder(Some("Basic eA==".parse().unwrap()))).unwrap();
    assert_eq!(forwarded.uri().to_string(), "http://images.example:8080/a?x=1");
    assert_eq!(forwarded.headers()["proxy-authorization"], "Basic eA==");
    let direct = super::request_for(&url, &super::Via::Origin).unwrap();
    assert_eq!(direct.uri().to_string(), "/a?x=1");
    assert_eq!(direct.headers()["host"], "images.example:8080");
}

/// Opens within these bounds.
async fn open_within(from: &StreamedSource, networks: &[&str]) -> Result<OpenImage, Fault> {
    let reach = Reach::Bounded {
        directories: Vec::new(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        uploads: None,
    };
    Fetcher::new(Options { reach, ..quick() })
        .open(from, None, None)
        .await
        .map_err(|error| error.fault)
}

fn is_out_of_reach(opened: Result<OpenImage, Fault>, address: &str) {
    match opened {
        Err(Fault::OutOfReach(why)) => {
            assert!(why.contains(address) && why.contains("image_networks"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_private_address_is_called_only_where_it_is_named_whatever_name_leads_there() {
    let image = vec![7; 4096];
    let server = serve(move |_| ok(image.len(), &image)).await;
    let by_name = source(&format!("http://localhost:{}/image", server.address.port()));
    is_out_of_reach(open_within(&by_name, &[]).await, "localhost has the address");
    is_out_of_reach(open_within(&url(&server, "/image"), &[]).await, "127.0.0.1");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0, "nothing was sent");
    // Each address of the name has to be allowed: which one answers is not known before.
    let opened = open_within(&by_name, &["127.0.0.0/8", "::1/128"]).await.unwrap();
    assert_eq!(opened.length, 4096);
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_may_not_be_called() {
    let inner = serve(|_| ok(1, b"x")).await;
    let to = format!(
        "Location: http://127.0.0.2:{}/\r\nContent-Length: 0\r\n",
        inner.address.port()
    );
    let outer = serve(move |_| answer("302 Found", &to, b"")).await;
    is_out_of_reach(
        open_within(&url(&outer, "/image"), &["127.0.0.1/32"]).await,
        "127.0.0.2",
    );
    assert_eq!(outer.requests.load(Ordering::SeqCst), 1);
    assert_eq!(inner.requests.load(Ordering::SeqCst), 0);
}

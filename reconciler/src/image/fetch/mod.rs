//! Opening a source as a stream of bytes, with its length where the source tells one.

mod body;
mod connect;
pub(crate) mod file;
mod post;
mod trust;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::error::{ConnectStage, Fault, Wait};
use super::open::{Limits, Proxies};
use super::pace::ByteStream;
use super::reach::Reach;
use super::source::without_query;
use body::Remains;
use connect::{Connector, Via};

/// An opened source.
pub(crate) struct Opened {
    /// How many bytes it has, where it says so.
    pub(crate) length: Option<u64>,
    pub(crate) bytes: ByteStream,
}

/// Fetches over HTTP and HTTPS, one connection a request.
///
/// Written on hyper's connection instead of on a ready-made client because of what lies below the body: only
/// here is it visible that a server sends more than its own Content-Length.
#[derive(Debug)]
pub(crate) struct Web {
    limits: Limits,
    connector: Connector,
}

/// The head of an answer and what drives its connection.
struct Answer {
    response: Response<Incoming>,
    remains: AbortOnDropHandle<Remains>,
}

impl Web {
    pub(crate) fn new(
        limits: Limits,
        (proxies, reach): (Proxies, Reach),
        extra_certificates: Vec<PathBuf>,
    ) -> Self {
        Self {
            limits,
            connector: Connector::new(proxies, extra_certificates).within(reach),
        }
    }

    /// Follows redirects to a 200 and hands out its body.
    pub(crate) async fn get(&self, url: &Url) -> Result<Opened, Fault> {
        let mut at = url.clone();
        for _ in 0..=self.limits.redirects {
            let answer = self.request(&at).await?;
            match answer.response.status().as_u16() {
                200 => return accept(answer),
                301 | 302 | 303 | 307 | 308 => at = redirected(&at, &answer.response)?,
                status => return Err(Fault::Status { status }),
            }
        }
        Err(Fault::TooManyRedirects {
            limit: self.limits.redirects,
            last: without_query(&at),
        })
    }

    async fn request(&self, url: &Url) -> Result<Answer, Fault> {
        let connected = self.connector.connect(url);
        let connection = within(self.limits.connect, Wait::Connection, connected).await?;
        let request = request_for(url, &connection.via)?;
        let exchange = async {
            let io = TokioIo::new(connection.io);
            let (mut sender, driver) = http1::handshake(io)
                .await
                .map_err(|error| request_failed(&error))?;
            let remains = AbortOnDropHandle::new(tokio::spawn(body::drive(driver)));
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| request_failed(&error))?;
            Ok(Answer { response, remains })
        };
        within(self.limits.connect, Wait::Answer, exchange).await
    }
}

async fn within<T>(
    limit: Duration,
    wait: Wait,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    timeout(limit, work).await.unwrap_or(Err(Fault::Stalled {
        wait,
        after: limit,
        received: 0,
    }))
}

fn request_failed(error: &hyper::Error) -> Fault {
    Fault::Connect {
        stage: ConnectStage::Request,
        reason: with_causes(error),
    }
}

/// An error with what caused it: hyper and rustls say the interesting part last.
fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

fn request_for(url: &Url, via: &Via) -> Result<Request<Empty<Bytes>>, Fault> {
    let origin_form = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let target = match via {
        Via::Origin => origin_form,
        Via::Forwarder(_) => &url[..url::Position::AfterQuery],
    };
    let mut request = Request::get(target)
        .header(
            header::HOST,
            &url[url::Position::BeforeHost..url::Position::AfterPort],
        )
        .header(header::USER_AGENT, concat!("labyard/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        // The digest and the length are those of the file as it lies on the server.
        .header(header::ACCEPT_ENCODING, "identity")
        .header(header::CONNECTION, "close");
    if let Via::Forwarder(Some(credentials)) = via {
        request = request.header(header::PROXY_AUTHORIZATION, credentials);
    }
    request.body(Empty::new()).map_err(|error| Fault::Connect {
        stage: ConnectStage::Request,
        reason: error.to_string(),
    })
}

fn accept(answer: Answer) -> Result<Opened, Fault> {
    let encoding = answer.response.headers().get(header::CONTENT_ENCODING);
    if let Some(encoding) = encoding.filter(|encoding| *encoding != HeaderValue::from_static("identity")) {
        return Err(Fault::Encoded(
            String::from_utf8_lossy(encoding.as_bytes()).into_owned(),
        ));
    }
    let body = answer.response.into_body();
    let length = body.size_hint().exact();
    Ok(Opened {
        length,
        bytes: body::stream(body, length, answer.remains),
    })
}

fn redirected(from: &Url, response: &Response<Incoming>) -> Result<Url, Fault> {
    let location = response
        .headers()
        .get(header::LOCATION)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let location = String::from_utf8_lossy(location).into_owned();
    let refuse = |reason| {
        let location = from
            .join(&location)
            .map_or_else(|_| location.clone(), |url| without_query(&url));
        Err(Fault::BadRedirect { location, reason })
    };
    if location.is_empty() {
        return refuse("it names no place");
    }
    let Ok(to) = from.join(&location) else {
        return refuse("it is not a URL");
    };
    match (from.scheme(), to.scheme()) {
        ("https", "http") => {
            refuse("it leads from https to http, where anybody on the way could change the image")
        }
        (_, "https" | "http") if to.username().is_empty() && to.password().is_none() => Ok(to),
        (_, "https" | "http") => refuse("it holds a user name or password"),
        _ => refuse("only http and https are fetched"),
    }
}

#[cfg(test)]
mod tests;

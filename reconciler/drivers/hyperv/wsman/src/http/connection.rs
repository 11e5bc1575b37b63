//! One connection, with one request on it at a time.

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::{Settings, Stream, tls};
use crate::client::Answer;
use crate::trouble::Trouble;

/// What became of a request.
pub(super) enum Sent {
    /// It was not sent.
    Not(Trouble),
    /// It was, and no answer came.
    Lost(Trouble),
    /// It was answered.
    Answered {
        answer: Answer,
        /// The schemes of logins that the service offers, of a 401.
        offered: Vec<String>,
    },
}

/// A connection that is made. It ends with whoever has it.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(super) async fn open(settings: &Settings, tls: Option<&TlsConnector>) -> Result<Self, Trouble> {
        let Endpoint { host, port, .. } = &settings.endpoint;
        let place = settings.endpoint.place();
        let stream = settings.dial.dial(host, *port).await?;
        let stream: Box<dyn Stream> = match tls {
            Some(connector) => tls::handshake(connector, &settings.endpoint, stream).await?,
            None => stream,
        };
        let broken = |error: hyper::Error| Trouble::Broken {
            place: place.clone(),
            reason: error.to_string(),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(async move {
            // Whoever sends hears of it.
            let _ = connection.await;
        });
        Ok(Self { sender, driver })
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn send(&mut self, settings: &Settings, envelope: Bytes) -> Sent {
        let place = settings.endpoint.place();
        let broken = |error: &hyper::Error| Trouble::Broken {
            place: place.clone(),
            reason: reason(error),
        };
        if let Err(error) = self.sender.ready().await {
            return Sent::Not(broken(&error));
        }
        let request = match request(settings, envelope) {
            Ok(request) => request,
            Err(reason) => return Sent::Not(Trouble::Broken { place, reason }),
        };
        let exchange = async {
            match self.sender.send_request(request).await {
                Ok(response) => whole(response, settings).await,
                // It did not get as far as the wire.
                Err(error) if error.is_canceled() => Sent::Not(broken(&error)),
                Err(error) => Sent::Lost(broken(&error)),
            }
        };
        match timeout(settings.answer, exchange).await {
            Ok(sent) => sent,
            Err(_) => Sent::Lost(Trouble::Silent {
                place,
                after: settings.answer,
            }),
        }
    }
}

/// What hyper says, and what made it say so.
fn reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn request(settings: &Settings, envelope: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let mut login = HeaderValue::from_str(&settings.login.header()).map_err(|error| error.to_string())?;
    login.set_sensitive(true);
    Request::post(&settings.endpoint.path)
        .header(HOST, settings.endpoint.place())
        .header(CONTENT_TYPE, "application/soap+xml;charset=UTF-8")
        .header(AUTHORIZATION, login)
        .body(Full::new(envelope))
        .map_err(|error| error.to_string())
}

async fn whole(response: Response<Incoming>, settings: &Settings) -> Sent {
    let place = settings.endpoint.place();
    let status = response.status().as_u16();
    let offered = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(schemes)
        .collect();
    let limited = Limited::new(response.into_body(), settings.max_answer);
    match limited.collect().await {
        Ok(body) => Sent::Answered {
            answer: Answer {
                status,
                body: body.to_bytes(),
            },
            offered,
        },
        Err(error) if error.is::<LengthLimitError>() => Sent::Lost(Trouble::TooLarge {
            place,
            limit: settings.max_answer,
        }),
        Err(error) => Sent::Lost(Trouble::Broken {
            place,
            reason: error.to_string(),
        }),
    }
}

/// The schemes in a header: one a header, or several with commas.
fn schemes(header: &str) -> Vec<String> {
    let first = |part: &str| part.split_whitespace().next().map(str::to_owned);
    let is_scheme = |word: &String| !word.contains('=');
    header.split(',').filter_map(first).filter(is_scheme).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_read_one_a_header_or_several() {
        assert_eq!(schemes("Negotiate"), ["Negotiate"]);
        assert_eq!(schemes("Basic realm=\"WSMAN\""), ["Basic"]);
        assert_eq!(
            schemes("Negotiate, Kerberos, Basic realm=\"WSMAN\", charset=\"UTF-8\""),
            ["Negotiate", "Kerberos", "Basic"]
        );
    }
}

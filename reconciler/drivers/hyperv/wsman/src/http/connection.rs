//! One connection, with one request on it at a time, and the login that belongs to it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::endpoint::{Endpoint, Scheme};
use super::kerberos::{Context, Tickets};
use super::login::Login;
use super::negotiate;
use super::sealed::{self, Sealed};
use super::session::{End, Failed, Session};
use super::{Fingerprint, Settings, Stream, binding, tls};
use crate::client::Answer;
use crate::trouble::Trouble;

/// A login takes two or three legs; one that goes on for ever is none.
const MAX_LEGS: usize = 8;
const PLAIN: &str = "application/soap+xml;charset=UTF-8";

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
    seal: Option<Session>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A stream to a service, ready for requests.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    /// What a login is bound to.
    channel: Option<Vec<u8>>,
    /// The certificate that was shown.
    pub(super) certificate: Option<Fingerprint>,
}

impl Line {
    pub(super) fn plain(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            channel: None,
            certificate: None,
        }
    }

    pub(super) async fn encrypted(
        settings: &Settings,
        connector: &TlsConnector,
        stream: Box<dyn Stream>,
    ) -> Result<Self, Trouble> {
        let (stream, certificate) = tls::handshake(connector, &settings.endpoint, stream).await?;
        Ok(Self {
            stream,
            channel: certificate.as_ref().map(|shown| binding::end_point(shown)),
            certificate: certificate.as_ref().map(|shown| Fingerprint::of(shown)),
        })
    }
}

/// An answer with what stands around it.
struct Reply {
    answer: Answer,
    content_type: String,
    /// What stands in each `WWW-Authenticate`.
    challenges: Vec<String>,
}

impl Connection {
    /// Connects and, where the login belongs to the connection, logs in.
    pub(super) async fn open(
        settings: &Settings,
        tls: Option<&TlsConnector>,
        tickets: &Tickets,
        deadline: Instant,
    ) -> Result<Self, Trouble> {
        let Endpoint { host, port, .. } = &settings.endpoint;
        let stream = settings.dial.dial(host, *port, deadline).await?;
        let line = match tls {
            Some(connector) => Line::encrypted(settings, connector, stream).await?,
            None => Line::plain(stream),
        };
        Self::over(settings, tickets, line).await
    }

    /// Logs in on what is connected, where the login belongs to the connection.
    pub(super) async fn over(settings: &Settings, tickets: &Tickets, line: Line) -> Result<Self, Trouble> {
        let broken = |error: hyper::Error| Trouble::Broken {
            place: settings.endpoint.place(),
            reason: error.to_string(),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(line.stream))
            .await
            .map_err(broken)?;
        let driver = tokio::spawn(async move {
            // Whoever sends hears of it.
            let _ = connection.await;
        });
        let mut connection = Self {
            sender,
            driver,
            seal: None,
        };
        if let Some(session) = begun(settings, tickets, line.channel.as_deref()).await? {
            let session = connection.log_in(settings, session).await;
            if matches!((&session, &settings.login), (Err(_), Login::Kerberos(_))) {
                tickets.forget().await;
            }
            // TLS seals all there is.
            connection.seal = Some(session?).filter(|_| settings.endpoint.scheme == Scheme::Http);
        }
        Ok(connection)
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Exchanges tokens, before anything is asked that could be done.
    async fn log_in(&mut self, settings: &Settings, mut session: Session) -> Result<Session, Trouble> {
        let mut token = Vec::new();
        for _ in 0..MAX_LEGS {
            let (out, end) = session.step(token).map_err(|error| no_login(settings, &error))?;
            if out.is_empty() && end == End::Reached {
                return Ok(session);
            }
            let login = format!("Negotiate {}", BASE64.encode(&out));
            let request = request(settings, Some(&login), (PLAIN, Bytes::new()));
            let reply = match self.exchange(settings, request).await {
                Ok(reply) => reply,
                Err(Sent::Not(trouble) | Sent::Lost(trouble)) => return Err(trouble),
                Err(Sent::Answered { .. }) => return Err(refused(settings, Vec::new())),
            };
            let said = reply.challenges.iter().find_map(|challenge| token_of(challenge));
            match (reply.answer.status, said, end) {
                (200, None, End::Reached) => return Ok(session),
                // The last word of the service, which proves who it is.
                (200, Some(said), End::Reached) => {
                    return match session.step(said) {
                        Ok(_) => Ok(session),
                        Err(error) => Err(no_login(settings, &error)),
                    };
                }
                (200 | 401, Some(said), End::NotYet) => token = said,
                (401, ..) => {
                    let offered = reply
                        .challenges
                        .iter()
                        .flat_map(|header| schemes(header))
                        .collect();
                    return Err(refused(settings, offered));
                }
                (status, ..) => {
                    return Err(Trouble::Negotiation {
                        place: settings.endpoint.place(),
                        reason: format!("HTTP {status} in the middle of it"),
                    });
                }
            }
        }
        Err(Trouble::Negotiation {
            place: settings.endpoint.place(),
            reason: format!("it is not over after {MAX_LEGS} exchanges"),
        })
    }

    pub(super) async fn send(&mut self, settings: &Settings, envelope: Bytes) -> Sent {
        let place = settings.endpoint.place();
        let unsealed = |reason: String| Trouble::Seal {
            place: place.clone(),
            reason,
        };
        let body = match &mut self.seal {
            None => (PLAIN.to_owned(), envelope),
            Some(session) => match session.seal(&envelope) {
                Ok(sealed) => (sealed::content_type(), sealed.write().into()),
                Err(error) => return Sent::Not(unsealed(error.to_string())),
            },
        };
        let login = settings.login.header();
        let request = request(
            settings,
            login.as_ref().map(|login| login.as_str()),
            (&body.0, body.1),
        );
        let mut reply = match self.exchange(settings, request).await {
            Ok(reply) => reply,
            Err(sent) => return sent,
        };
        if let Some(session) = &mut self.seal {
            let is_sealed = sealed::is_sealed(&reply.content_type);
            if is_sealed {
                let opened = Sealed::read(&reply.answer.body).map_err(|error| error.to_string());
                match opened.and_then(|sealed| session.open(sealed).map_err(|error| error.to_string())) {
                    Ok(plain) => reply.answer.body = plain.into(),
                    Err(reason) => return Sent::Lost(unsealed(reason)),
                }
            } else if !reply.answer.body.is_empty() && reply.answer.status != 401 {
                // Whoever sits between could have written it.
                return Sent::Lost(unsealed("it came without a seal".to_owned()));
            }
        }
        let offered = reply
            .challenges
            .iter()
            .flat_map(|header| schemes(header))
            .collect();
        Sent::Answered {
            answer: reply.answer,
            offered,
        }
    }

    async fn exchange(
        &mut self,
        settings: &Settings,
        request: Result<Request<Full<Bytes>>, String>,
    ) -> Result<Reply, Sent> {
        let place = settings.endpoint.place();
        let broken = |reason: String| Trouble::Broken {
            place: place.clone(),
            reason,
        };
        let request = request.map_err(|reason| Sent::Not(broken(reason)))?;
        if let Err(error) = self.sender.ready().await {
            return Err(Sent::Not(broken(reason(&error))));
        }
        let exchange = async {
            match self.sender.send_request(request).await {
                Ok(response) => whole(response, settings).await,
                // It did not get as far as the wire.
                Err(error) if error.is_canceled() => Err(Sent::Not(broken(reason(&error)))),
                Err(error) => Err(Sent::Lost(broken(reason(&error)))),
            }
        };
        match timeout(settings.answer, exchange).await {
            Ok(sent) => sent,
            Err(_) => Err(Sent::Lost(Trouble::Silent {
                place: place.clone(),
                after: settings.answer,
            })),
        }
    }
}

/// The login of a connection; `None` where each request has its own.
async fn begun(
    settings: &Settings,
    tickets: &Tickets,
    channel: Option<&[u8]>,
) -> Result<Option<Session>, Trouble> {
    let host = &settings.endpoint.host;
    let session = match &settings.login {
        Login::Basic(_) | Login::Certificate => return Ok(None),
        Login::Negotiate(account) => negotiate::Session::begin(account, host, channel)
            .map(|session| Session::Ntlm(Box::new(session)))
            .map_err(Failed::from),
        Login::Kerberos(principal) => {
            let ticket = tickets.get(principal, &format!("HTTP/{host}")).await;
            let ticket = ticket.map_err(|why| Trouble::Kerberos {
                place: settings.endpoint.place(),
                why,
            })?;
            Context::begin(&ticket, channel).map(Session::Kerberos)
        }
    };
    let session = session.map_err(|error| no_login(settings, &error))?;
    Ok(Some(session))
}

fn no_login(settings: &Settings, error: &Failed) -> Trouble {
    Trouble::Negotiation {
        place: settings.endpoint.place(),
        reason: error.to_string(),
    }
}

/// What a 401 at the end of a login comes to.
pub(super) fn refused(settings: &Settings, offered: Vec<String>) -> Trouble {
    let (place, tried) = (settings.endpoint.place(), settings.login.scheme());
    match offered.is_empty() || offered.iter().any(|scheme| scheme.eq_ignore_ascii_case(tried)) {
        true => Trouble::Login {
            place,
            user: settings.login.user(),
            tried,
            offered,
        },
        false => Trouble::Scheme {
            place,
            tried,
            offered,
        },
    }
}

/// What hyper says, and what made it say so.
fn reason(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn request(
    settings: &Settings,
    login: Option<&str>,
    (content_type, body): (&str, Bytes),
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::post(&settings.endpoint.path)
        .header(HOST, settings.endpoint.place())
        .header(CONTENT_TYPE, content_type)
        // Also of an empty body: http.sys answers 411 without.
        .header(CONTENT_LENGTH, body.len());
    if let Some(login) = login {
        let mut login = HeaderValue::from_str(login).map_err(|error| error.to_string())?;
        login.set_sensitive(true);
        request = request.header(AUTHORIZATION, login);
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}

async fn whole(response: Response<Incoming>, settings: &Settings) -> Result<Reply, Sent> {
    let place = settings.endpoint.place();
    let status = response.status().as_u16();
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let challenges = response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .map(text)
        .collect();
    let content_type = response.headers().get(CONTENT_TYPE).map(text).unwrap_or_default();
    let limited = Limited::new(response.into_body(), settings.max_answer);
    match limited.collect().await {
        Ok(body) => Ok(Reply {
            answer: Answer {
                status,
                body: body.to_bytes(),
            },
            content_type,
            challenges,
        }),
        Err(error) if error.is::<LengthLimitError>() => Err(Sent::Lost(Trouble::TooLarge {
            place,
            limit: settings.max_answer,
        })),
        Err(error) => Err(Sent::Lost(Trouble::Broken {
            place,
            reason: error.to_string(),
        })),
    }
}

/// The token of a header, `Negotiate TOKEN`.
fn token_of(challenge: &str) -> Option<Vec<u8>> {
    let (scheme, token) = challenge.trim().split_once(' ')?;
    let token = token.split(',').next()?.trim();
    scheme
        .eq_ignore_ascii_case("Negotiate")
        .then(|| BASE64.decode(token).ok())?
}

/// The schemes in a header: one a header, or several with commas.
pub(super) fn schemes(header: &str) -> Vec<String> {
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

    #[test]
    fn a_token_is_read_of_its_own_scheme_alone() {
        assert_eq!(token_of("Negotiate b2s="), Some(b"ok".to_vec()));
        assert_eq!(token_of("Negotiate"), None);
        assert_eq!(token_of("Basic b2s="), None);
        assert_eq!(token_of("Negotiate !"), None);
    }
}

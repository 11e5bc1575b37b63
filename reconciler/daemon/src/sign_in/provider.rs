//! The identity provider: where it has what (OpenID Connect Discovery 1.0), its keys, the way to it and the exchange of what it
//! sends back (RFC 6749, section 4.1; RFC 7636). What it said of itself is kept for a while; a key that is not among those
//! that are known is asked for once more, so that it may change its keys at any time.

use super::{
    SignInError,
    proof::{self, Disbelief, Expected},
    under_way::{UnderWay, challenge},
};
use crate::config::Oidc;
use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::BodyExt as _;
use jsonwebtoken::jwk::Jwk;
use labyard_api::client::{Transport as _, held, http::Http};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use url::Url;

/// How long what a provider said of itself is believed.
const KEPT: Duration = Duration::from_secs(3600);
/// It is not asked for its keys more often, whatever it is sent.
const BETWEEN: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
const LONGEST: usize = 1 << 20;

/// The identity provider.
pub(crate) struct Provider {
    config: Oidc,
    known: Mutex<Option<Known>>,
}

/// What is known of it.
#[derive(Clone)]
struct Known {
    metadata: Metadata,
    keys: Vec<Jwk>,
    at: Instant,
}

#[derive(Clone, Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

impl Provider {
    pub(super) fn new(config: &Oidc) -> Self {
        Self {
            config: config.clone(),
            known: Mutex::new(None),
        }
    }

    /// Where a person is sent to sign in.
    pub(crate) async fn way_to(&self, under_way: &UnderWay) -> Result<String, SignInError> {
        let known = self.known(KEPT).await?;
        let mut url = Url::parse(&known.metadata.authorization_endpoint)
            .map_err(|error| self.strange(format!("authorization_endpoint: {error}")))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &self.config.redirect_url)
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", &under_way.state)
            .append_pair("nonce", &under_way.nonce)
            .append_pair("code_challenge", &challenge(&under_way.verifier))
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// What the provider says of the person for whom it gave that code.
    pub(crate) async fn person(
        &self,
        code: &str,
        under_way: &UnderWay,
    ) -> Result<Map<String, Value>, SignInError> {
        let known = self.known(KEPT).await?;
        let token = self.exchanged(&known.metadata, code, &under_way.verifier).await?;
        let expected = Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce: &under_way.nonce,
            skew: self.config.clock_skew,
        };
        let believed = match proof::believed(&token, &known.keys, &expected) {
            Err(Disbelief::UnknownKey) => {
                let newer = self.known(BETWEEN).await?;
                proof::believed(&token, &newer.keys, &expected)
            }
            other => other,
        };
        believed.map_err(|why| SignInError::Unproven(why.to_string()))
    }

    /// What is known of it, not older than that.
    async fn known(&self, age: Duration) -> Result<Known, SignInError> {
        // Who comes meanwhile waits for the same answer.
        let mut known = self.known.lock().await;
        if let Some(found) = known.as_ref().filter(|found| found.at.elapsed() < age) {
            return Ok(found.clone());
        }
        let fresh = self.asked().await?;
        *known = Some(fresh.clone());
        Ok(fresh)
    }

    async fn asked(&self) -> Result<Known, SignInError> {
        let issuer = self.config.issuer.trim_end_matches('/');
        let metadata: Metadata = self
            .got(&format!("{issuer}/.well-known/openid-configuration"))
            .await?;
        if metadata.issuer != self.config.issuer {
            return Err(self.strange(format!("it calls itself {:?}", metadata.issuer)));
        }
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<Value>,
        }
        let keys: Keys = self.got(&metadata.jwks_uri).await?;
        // Keys of kinds that are not known here are others' business.
        let keys = keys
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok());
        Ok(Known {
            metadata,
            keys: keys.collect(),
            at: Instant::now(),
        })
    }

    async fn got<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, SignInError> {
        let request = Request::get("/").header(header::ACCEPT, "application/json");
        let (status, body) = self.sent(url, request, Bytes::new()).await?;
        if status != 200 {
            return Err(self.unreachable(format!("{url} is answered with {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| self.strange(format!("{url}: {error}")))
    }

    /// What a code is exchanged with.
    fn exchange(&self, code: &str, verifier: &str) -> Result<(http::request::Builder, String), SignInError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.config.redirect_url)
            .append_pair("code_verifier", verifier);
        let request = Request::post("/")
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let Some(file) = &self.config.client_secret_file else {
            form.append_pair("client_id", &self.config.client_id);
            return Ok((request, form.finish()));
        };
        // Read each time: it may be changed while the server runs.
        let secret = std::fs::read_to_string(file).map_err(|error| {
            SignInError::Configuration(format!("oidc.client_secret_file {}: {error}", file.display()))
        })?;
        let encoded =
            |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let pair = format!("{}:{}", encoded(&self.config.client_id), encoded(secret.trim()));
        let basic = format!("Basic {}", Base64::encode_string(pair.as_bytes()));
        Ok((request.header(header::AUTHORIZATION, basic), form.finish()))
    }

    /// The ID token for a code.
    async fn exchanged(
        &self,
        metadata: &Metadata,
        code: &str,
        verifier: &str,
    ) -> Result<String, SignInError> {
        let (request, form) = self.exchange(code, verifier)?;
        let (status, body) = self
            .sent(&metadata.token_endpoint, request, Bytes::from(form))
            .await?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if (500..=599).contains(&status) {
            return Err(self.unreachable(format!("the token endpoint answers with {status}")));
        }
        match answer["id_token"].as_str() {
            Some(token) if status == 200 => Ok(token.to_owned()),
            _ => Err(SignInError::Refused(format!(
                "the code is of no use ({status} {})",
                answer["error"].as_str().unwrap_or("without a reason")
            ))),
        }
    }

    async fn sent(
        &self,
        url: &str,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<(u16, Bytes), SignInError> {
        let parsed = Url::parse(url).map_err(|error| self.strange(format!("{url}: {error}")))?;
        let server = Http::new(&parsed.origin().ascii_serialization())
            .map_err(|error| self.strange(format!("{url}: {error}")))?;
        let target = &parsed[url::Position::BeforePath..url::Position::AfterQuery];
        let request = request
            .uri(target)
            .header(header::CONTENT_LENGTH, body.len())
            .body(held(body))
            .map_err(|error| self.strange(format!("{url}: {error}")))?;
        let asked = async {
            let answer = server.call(request).await.map_err(|error| error.to_string())?;
            let status = answer.status().as_u16();
            let (mut body, mut read) = (answer.into_body(), Vec::new());
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| error.to_string())?;
                read.extend(frame.data_ref().into_iter().flatten());
                if read.len() > LONGEST {
                    return Err(format!("an answer of more than {LONGEST} bytes"));
                }
            }
            Ok((status, Bytes::from(read)))
        };
        match tokio::time::timeout(ANSWERS_WITHIN, asked).await {
            Ok(answer) => answer.map_err(|why| self.unreachable(why)),
            Err(_) => Err(self.unreachable(format!("no answer within {} s", ANSWERS_WITHIN.as_secs()))),
        }
    }

    fn unreachable(&self, why: String) -> SignInError {
        SignInError::Unreachable {
            issuer: self.config.issuer.clone(),
            why,
        }
    }

    fn strange(&self, why: String) -> SignInError {
        SignInError::Strange {
            issuer: self.config.issuer.clone(),
            why,
        }
    }
}

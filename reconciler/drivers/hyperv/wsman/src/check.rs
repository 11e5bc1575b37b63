//! The way to a service gone step by step, for people who set a host up: each step with what was found or with what
//! stands in the way.
//!
//! ```no_run
//! # async fn f(settings: wsman::http::Settings) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use wsman::check::{Outcome, further, diagnose};
//! use wsman::http::Http;
//! use wsman::{Client, Namespace};
//!
//! const V2: Namespace = Namespace("root/virtualization/v2");
//!
//! let machines = further("machines", |client: Client| async move {
//!     let rows = client.query(V2, "SELECT Name FROM Msvm_ComputerSystem").await?;
//!     Ok(format!("{} systems", rows.len()))
//! });
//! let steps = diagnose(Arc::new(Http::new(settings)?), wsman::Settings::default(), vec![machines]).await;
//! for step in &steps {
//!     println!("{:>8.1?}  {}: {:?}", step.took, step.name, step.outcome);
//! }
//! let _well = steps.iter().all(|step| !matches!(step.outcome, Outcome::Failed(_)));
//! # Ok(())
//! # }
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, Identity};
use crate::error::Error;
use crate::fault::FaultKind;
use crate::http::{Gone, Http};
use crate::message::Settings;
use crate::names::ResourceUri;
use crate::object::{Object, Raw};
use crate::reference::Reference;

/// A step, gone or left out.
#[derive(Debug)]
pub struct Step {
    /// What it is about.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What came of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It is well; what was found.
    Well(String),
    /// It is not known, and nothing hangs on it; why.
    Unknown(String),
    /// It fails, and what follows is not gone.
    Failed(Error),
    /// One before it failed.
    NotGone,
}

/// What a service may not exceed, as its configuration has it. Windows shows it to administrators alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The largest envelope, in KiB.
    pub max_envelope_kib: Option<u32>,
    /// The longest operation, in milliseconds.
    pub max_timeout_ms: Option<u32>,
    /// How many elements an answer may hold.
    pub max_batch_items: Option<u32>,
    /// How many operations an account may have under way.
    pub max_operations: Option<u32>,
    /// How many connections there may be.
    pub max_connections: Option<u32>,
    /// Whether what is not sealed is taken.
    pub allow_unencrypted: Option<bool>,
}

type Going = Pin<Box<dyn Future<Output = Result<String, Error>> + Send>>;

/// A step of the caller's, after those of the service itself.
pub struct Further {
    name: String,
    go: Box<dyn FnOnce(Client) -> Going + Send>,
}

impl std::fmt::Debug for Further {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Further").field("name", &self.name).finish()
    }
}

/// A step of the caller's, which says what it found.
pub fn further<F>(name: &str, go: impl FnOnce(Client) -> F + Send + 'static) -> Further
where
    F: Future<Output = Result<String, Error>> + Send + 'static,
{
    Further {
        name: name.to_owned(),
        go: Box::new(|client| Box::pin(go(client))),
    }
}

/// Goes the way to a service: name, connection (or proxy, or SSH), TLS, login, who is there, its limits, and what the caller
/// adds. The first step that fails is the last that is gone; the caller's own do not keep each other from being gone.
pub async fn diagnose(http: Arc<Http>, settings: Settings, further: Vec<Further>) -> Vec<Step> {
    let mut steps: Vec<Step> = http.walk().await.into_iter().map(Step::from).collect();
    let client = Client::new(http, settings);
    let mut is_open = steps.iter().all(|step| !step.has_failed());

    let identity = step("service", is_open, async {
        client.identify().await.map(|who| Outcome::Well(said(&who)))
    });
    let identity = identity.await;
    is_open &= !identity.has_failed();
    steps.push(identity);

    let limits = step("limits of the service", is_open, async {
        match limits(&client).await {
            Ok(limits) => Ok(Outcome::Well(limits.to_string())),
            // They are shown to administrators, who one need not be.
            Err(error) if error.fault() == Some(FaultKind::AccessDenied) => Ok(Outcome::Unknown(
                "shown to administrators of the host alone".to_owned(),
            )),
            Err(Error::Fault(fault)) => Ok(Outcome::Unknown(fault.to_string())),
            Err(error) => Err(error),
        }
    });
    steps.push(limits.await);

    for Further { name, go } in further {
        let gone = step(&name, is_open, async {
            go(client.clone()).await.map(Outcome::Well)
        });
        steps.push(gone.await);
    }
    steps
}

/// The limits of a service.
///
/// # Errors
/// If the service refuses or does not answer; [`FaultKind::AccessDenied`] to whoever is no administrator of its host.
pub async fn limits(client: &Client) -> Result<Limits, Error> {
    let config = Reference {
        resource: ResourceUri("http://schemas.microsoft.com/wbem/wsman/1/config".to_owned()),
        selectors: Vec::new(),
    };
    Ok(Limits::read(&client.get(&config).await?))
}

impl Limits {
    fn read(config: &Object) -> Self {
        let nothing = Object::default();
        let service = match config.get("Service") {
            Raw::Object(service) => service,
            _ => &nothing,
        };
        Self {
            max_envelope_kib: parsed(config.get("MaxEnvelopeSizekb")),
            max_timeout_ms: parsed(config.get("MaxTimeoutms")),
            max_batch_items: parsed(config.get("MaxBatchItems")),
            max_operations: parsed(service.get("MaxConcurrentOperationsPerUser")),
            max_connections: parsed(service.get("MaxConnections")),
            allow_unencrypted: parsed(service.get("AllowUnencrypted")),
        }
    }
}

fn parsed<T: std::str::FromStr>(raw: &Raw) -> Option<T> {
    match raw {
        Raw::Text(text) => text.trim().to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers = [
            ("MaxEnvelopeSizekb", self.max_envelope_kib),
            ("MaxTimeoutms", self.max_timeout_ms),
            ("MaxBatchItems", self.max_batch_items),
            ("MaxConcurrentOperationsPerUser", self.max_operations),
            ("MaxConnections", self.max_connections),
        ];
        let numbers = numbers
            .into_iter()
            .map(|(name, value)| (name, value.map(|value| value.to_string())));
        let unsealed = self.allow_unencrypted.map(|allowed| allowed.to_string());
        let all: Vec<String> = numbers
            .chain([("AllowUnencrypted", unsealed)])
            .filter_map(|(name, value)| Some(format!("{name} {}", value?)))
            .collect();
        f.write_str(&all.join(", "))
    }
}

fn said(who: &Identity) -> String {
    format!("{} {}", who.vendor, who.version).trim().to_owned()
}

async fn step(name: &str, is_open: bool, go: impl Future<Output = Result<Outcome, Error>>) -> Step {
    let begun = Instant::now();
    let outcome = match is_open {
        true => go.await.unwrap_or_else(Outcome::Failed),
        false => Outcome::NotGone,
    };
    Step {
        name: name.to_owned(),
        outcome,
        took: begun.elapsed(),
    }
}

impl Step {
    fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(_))
    }
}

impl From<Gone> for Step {
    fn from(gone: Gone) -> Self {
        Self {
            name: gone.part.to_string(),
            outcome: match gone.outcome {
                Ok(found) => Outcome::Well(found),
                Err(trouble) => Outcome::Failed(Error::NotSent(trouble)),
            },
            took: gone.took,
        }
    }
}

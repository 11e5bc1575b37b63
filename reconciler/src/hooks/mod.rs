//! The operator's hooks: before or after a stage of a machine a URL or a command is asked, and may deny, hold, or
//! supply what the stage needs. What they are is the provider's own configuration; nothing else names a command.
//!
//! The way of a call: [`passage`] decides that it is due and writes that into the mark, [`request`] makes the JSON,
//! [`call`] sends it by [`call_url`] or [`call_command`] with bounded retries, [`answer`] reads what comes back,
//! [`supplied`] says what of it can be taken. [`placement`] is the same for a machine of which nothing stands yet.
//! `answer`, `supplied`, `sign` and `request` are pure.

pub mod answer;
pub mod call;
mod call_command;
mod call_url;
pub mod passage;
pub(crate) mod placement;
pub mod request;
pub mod sign;
pub mod supplied;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use labyard_schema::hooks as schema;
use labyard_schema::text::{Secret, Span};
use url::Url;

pub use call::{Call, Failure, Outside};

/// How long an answer may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked again where nothing else is said.
const RETRIES: u32 = 3;

/// What changes a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is made, or its making is finished.
    Create,
    /// It stands and is changed.
    Update,
    /// It is removed.
    Destroy,
}

impl Event {
    /// As requests and the journal call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Destroy => "destroy",
        }
    }
}

/// Before or after a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before its step.
    Before,
    /// After its step has succeeded.
    After,
}

impl When {
    /// As configuration and requests call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A moment of a machine at which a hook can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Before or after.
    pub when: When,
    /// Which stage, of its making or its removal.
    pub stage: &'static str,
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.when.name(), self.stage)
    }
}

/// What signs requests.
#[derive(Clone, Debug)]
pub enum Key {
    /// Given in the configuration.
    Given(Secret),
    /// The first line of a file, read at each call.
    File(PathBuf),
}

/// Who is asked.
#[derive(Clone, Debug)]
pub enum Target {
    /// A server.
    Url {
        /// Where.
        url: Url,
        /// What signs the requests.
        key: Option<Key>,
    },
    /// A program and its arguments.
    Command(Vec<String>),
}

/// What a hook means that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The stage fails.
    Fail,
    /// The stage goes on, with a warning.
    Continue,
}

/// Whether a hook is called when a machine is changed that stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUpdate {
    /// It is not.
    Skip,
    /// It is.
    Call,
}

/// A hook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Who is asked.
    pub target: Target,
    /// How long one answer may take.
    pub timeout: Duration,
    /// What a failure means.
    pub on_error: OnError,
    /// How often it is asked again.
    pub retries: u32,
    /// Whether updates call it.
    pub on_update: OnUpdate,
}

/// The configured hooks, and what calls them.
#[derive(Clone)]
pub struct Hooks {
    by_moment: BTreeMap<String, Hook>,
    caller: Arc<dyn Call>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self::new(BTreeMap::new(), Arc::new(Outside::default()))
    }
}

impl Hooks {
    /// Hooks by their moments, called by `caller`.
    pub fn new(by_moment: BTreeMap<String, Hook>, caller: Arc<dyn Call>) -> Self {
        Self { by_moment, caller }
    }

    /// The hooks of a configuration that has passed the schema's checks.
    ///
    /// # Errors
    /// The moment and what is wrong with its URL.
    pub fn from_config(config: &BTreeMap<String, schema::Hook>) -> Result<Self, (String, String)> {
        let mut by_moment = BTreeMap::new();
        for (moment, hook) in config {
            let hook = Hook::from_config(hook).map_err(|error| (moment.clone(), error))?;
            by_moment.insert(moment.clone(), hook);
        }
        Ok(Self::new(by_moment, Arc::new(Outside::default())))
    }

    /// The hook of a moment, if it is called at this event.
    pub fn at(&self, moment: Moment, event: Event) -> Option<&Hook> {
        let hook = self.by_moment.get(&moment.to_string())?;
        (event != Event::Update || hook.on_update == OnUpdate::Call).then_some(hook)
    }

    /// Whether any is called at this event.
    pub fn any(&self, event: Event) -> bool {
        self.by_moment.iter().any(|(moment, hook)| {
            let stage = moment.split_once(':').map_or("", |(_, stage)| stage);
            match event {
                Event::Create => schema::PROVISION.contains(&stage),
                Event::Update => schema::PROVISION.contains(&stage) && hook.on_update == OnUpdate::Call,
                Event::Destroy => schema::RETIREMENT.contains(&stage),
            }
        })
    }

    /// The moments that have a hook.
    pub fn moments(&self) -> impl Iterator<Item = &str> {
        self.by_moment.keys().map(String::as_str)
    }
}

/// Whether a machine's addresses and MACs may come from hooks at these moments when it is made: its plan leaves them open.
pub fn may_supply_addresses<'a>(moments: impl IntoIterator<Item = &'a str>) -> bool {
    let mut moments = moments.into_iter();
    moments.any(|moment| supplied::ADDRESS_MOMENTS.contains(&moment))
}

impl Hook {
    fn from_config(config: &schema::Hook) -> Result<Self, String> {
        let key = match (&config.secret, &config.secret_file) {
            (Some(secret), _) => Some(Key::Given(secret.clone())),
            (None, Some(path)) => Some(Key::File(path.into())),
            (None, None) => None,
        };
        let target = match (&config.url, &config.command) {
            (Some(url), _) => Target::Url {
                url: url
                    .parse()
                    .map_err(|error| format!("{url:?} is no URL: {error}"))?,
                key,
            },
            (None, command) => Target::Command(command.clone().unwrap_or_default()),
        };
        Ok(Self {
            target,
            timeout: Span::or(config.timeout.as_ref(), TIMEOUT),
            on_error: match config.on_error.as_deref() {
                Some("continue") => OnError::Continue,
                _ => OnError::Fail,
            },
            retries: config
                .retries
                .map_or(RETRIES, |retries| u32::try_from(retries).unwrap_or(RETRIES)),
            on_update: match config.on_update {
                Some(true) => OnUpdate::Call,
                _ => OnUpdate::Skip,
            },
        })
    }
}

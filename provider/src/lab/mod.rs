//! Pools and access codes, wherever they are kept: in a store that this process opens and works on ([`embedded`]), or with
//! a daemon ([`remote`]). Resources know [`Lab`] alone. [`making`]: what a killed run left is taken up by the next.
//!
//! A plan makes no store, and a state that names another store is never taken for one whose objects are gone
//! ([`LabPlace`]).

pub mod embedded;
pub mod making;
pub mod remote;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use labyard_api::client::ClientError;
use labyard_foreman::written::Found;
use labyard_labs::Refusal;
use labyard_labs::code::config::Meant;
use labyard_labs::code::keep::Kept;
use labyard_labs::ids::{CodeName, Namespace, PoolName};
use labyard_labs::maker::{Maker, Stands, Thing};
use labyard_labs::member::State;
use labyard_labs::show::Counts;
use labyard_reconciler::engine::Access;
use labyard_schema::access_code::AccessCode;
use labyard_schema::provider::STORE_VARIABLE;
use labyard_schema::vm_pool::VmPool;
use labyard_store::StoreError;
use tfplugin::Diagnostics;
use tfplugin::value::Path;
use tokio_util::sync::CancellationToken;

use self::making::{Make, Making};
use crate::errors::{capitalised, chain};
use crate::private::Private;
use crate::shape;

/// Pools and access codes of one namespace.
#[async_trait]
pub trait Lab: Send + Sync {
    /// Where they are, for messages.
    fn place(&self) -> String;
    /// Who goes on with the work when Terraform has ended.
    fn keeper(&self) -> Keeper;
    /// The identity of the store; `None` where it is not made yet and only looked for.
    async fn home(&self, wish: Wish) -> Result<Option<String>, LabError>;

    /// A pool.
    async fn pool(&self, name: &PoolName) -> Result<Found, LabError>;
    /// A pool with its machines.
    async fn pool_view(&self, name: &PoolName) -> Result<PoolView, LabError>;
    /// Makes a pool or changes it, and says what is to be waited for.
    async fn put_pool(&self, asked: &VmPool, meant: Meant) -> Result<(Found, Work), LabError>;
    /// Has a pool emptied, and says what is to be waited for.
    async fn remove_pool(&self, name: &PoolName, id: &str) -> Result<Work, LabError>;
    /// Waits until a pool is what it was asked to be, or gone; works on it where nobody else does.
    async fn settle(&self, name: &PoolName, work: &Work, bounds: Settling<'_>) -> Result<(), LabError>;

    /// A code. Of one whose texts may not be read, they are those that are known already.
    async fn code(&self, name: &CodeName, known: &BTreeMap<String, String>) -> Result<Kept, LabError>;
    /// A code as anybody may see it who sees its uses, whatever stands for its texts; nothing is logged of that.
    async fn code_uses(&self, name: &CodeName) -> Result<Kept, LabError>;
    /// Makes a code, or changes it.
    async fn put_code(&self, asked: &AccessCode, meant: Meant) -> Result<Kept, LabError>;
    /// Takes a code away; none there is success.
    async fn remove_code(&self, name: &CodeName, id: &str) -> Result<(), LabError>;

    /// Says of an object of that identity that its maker lives; with none, that it is written down.
    async fn making(&self, thing: &Thing, id: &str, maker: Option<&Maker>) -> Result<Stands, LabError>;
}

/// Who goes on with the work when Terraform has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody.
    Nobody,
    /// A daemon.
    Daemon,
}

/// Whether a store that is missing is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is only looked for.
    Look,
    /// It is made.
    Make,
}

/// What is to be waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nobody does it but who waits.
    Own,
    /// A daemon's operation.
    Operation(String),
}

/// The bounds of waiting.
#[derive(Clone, Copy)]
pub struct Settling<'a> {
    /// How long.
    pub limit: Duration,
    /// Ended by the user.
    pub cancel: &'a CancellationToken,
}

/// A pool with its machines.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// The pool.
    pub found: Found,
    /// How many machines are what.
    pub counts: Counts,
    /// How many machines claims wait for.
    pub waiting: u64,
    /// Its machines.
    pub machines: Vec<Machine>,
}

/// A machine of a pool.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// Its host, once it has one.
    pub host: Option<String>,
    /// What it is.
    pub state: State,
    /// Which template it was made of.
    pub generation: i64,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The rules refuse it, or the store failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A pool of that name is there.
    #[error("there is a pool {0} already, made by somebody else")]
    PoolExists(PoolName),
    /// Another run makes it.
    #[error(
        "{thing} is being made by another run ({maker}), which lives or may live: wait for its end and apply again"
    )]
    BeingMade {
        /// What is made.
        thing: Thing,
        /// By whom.
        maker: String,
    },
    /// Another took the place of the pool that is meant.
    #[error("the pool {0} was removed and made anew by somebody else")]
    PoolReplaced(PoolName),
    /// The store cannot be opened.
    #[error(transparent)]
    Unusable(StoreError),
    /// A pool is not what it was asked to be.
    #[error("{0}")]
    Unsettled(String),
    /// The daemon refused, or was not reached.
    #[error(transparent)]
    Daemon(#[from] ClientError),
}

impl From<StoreError> for LabError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl LabError {
    /// Whether another object has the name.
    fn is_exists(&self) -> bool {
        matches!(
            self,
            Self::PoolExists(_) | Self::Refused(Refusal::CodeExists { .. })
        )
    }
}

/// Where the provider block says that pools and codes are.
#[derive(Default)]
pub struct LabPlace {
    lab: Option<Arc<dyn Lab>>,
    access: Access,
    making: Arc<Making>,
}

/// A lab as an apply, a plan or a read meets it.
pub struct Met<'a> {
    /// The lab.
    pub lab: &'a dyn Lab,
    /// The identity of its store.
    pub home: String,
}

/// A lab as a plan or a read meets it.
pub enum Looked<'a> {
    /// It is there.
    There(Met<'a>),
    /// Its store is not: the first apply makes it.
    NotMade,
}

impl LabPlace {
    /// A lab, or none.
    pub fn new(lab: Option<Arc<dyn Lab>>, access: Access) -> Self {
        Self {
            lab,
            access,
            making: Arc::default(),
        }
    }

    /// Makes an object in the lab that was met.
    pub async fn make<M: Make>(&self, wanted: &M, cancel: &CancellationToken) -> Result<M::Made, LabError> {
        match &self.lab {
            Some(lab) => self.making.make(lab, wanted, cancel).await,
            None => Err(LabError::Unsettled("there is no store".to_owned())),
        }
    }

    /// Terraform has an object that was made.
    pub fn answered(&self, thing: &Thing) {
        self.making.answered(thing);
    }

    /// A state has an object whose maker may not have come to say so.
    pub async fn known(&self, thing: Thing, id: &str, maker: Option<&Maker>) {
        if let (Some(lab), Access::Full) = (&self.lab, self.access) {
            self.making.known(lab.as_ref(), thing, id, maker).await;
        }
    }

    /// The end of a run that was not stopped.
    pub async fn finish(&self) {
        if let Some(lab) = &self.lab {
            self.making.finish(lab.as_ref()).await;
        }
    }

    /// Who goes on with the work, where there is a lab.
    pub fn keeper(&self) -> Option<Keeper> {
        self.lab.as_ref().map(|lab| lab.keeper())
    }

    /// The lab, or an error that says how to name one.
    fn named(&self, what: &str, diags: &mut Diagnostics) -> Option<&dyn Lab> {
        if self.lab.is_none() {
            let detail = format!(
                "{what} is kept in a store, and the provider block names none. Add store = \"/var/lib/labyard/labyard.db\" \
                 (an absolute path of your own choosing: the file is made there) or the URL of a PostgreSQL database, or \
                 set {STORE_VARIABLE}; or name a daemon that has one, by endpoint."
            );
            diags.error(None, "No store", detail);
        }
        self.lab.as_deref()
    }

    /// The lab to change something in: of an object that a state has, the same one; else its store is made where it is
    /// missing.
    pub async fn to_change(
        &self,
        what: &str,
        state: Option<&[u8]>,
        diags: &mut Diagnostics,
    ) -> Option<Met<'_>> {
        if self.access == Access::ReadOnly {
            let detail = format!(
                "read_only is set in the provider block (or LABYARD_READ_ONLY), so {what} is not changed: apply without it."
            );
            diags.error(None, "Provider is read only", detail);
            return None;
        }
        if let Some(private) = state {
            return self.of_state(what, private, diags).await;
        }
        let lab = self.named(what, diags)?;
        match lab.home(Wish::Make).await {
            Ok(home) => Some(Met {
                lab,
                home: home.unwrap_or_default(),
            }),
            Err(error) => {
                say(&error, "Store not usable", diags);
                None
            }
        }
    }

    /// The lab of an object that a state has: the same one, or an error.
    pub async fn of_state(&self, what: &str, private: &[u8], diags: &mut Diagnostics) -> Option<Met<'_>> {
        match self.to_look(what, private, diags).await? {
            Looked::There(met) => Some(met),
            Looked::NotMade => {
                self.lost(what, "there is no file", diags);
                None
            }
        }
    }

    /// The lab to look into, whose store may not be there yet; for an object that a state has, the same one.
    pub async fn to_look(&self, what: &str, private: &[u8], diags: &mut Diagnostics) -> Option<Looked<'_>> {
        let lab = self.named(what, diags)?;
        let known = Private::parse(private).store;
        match (lab.home(Wish::Look).await, known) {
            (Ok(None), Some(_)) => {
                self.lost(what, "there is no file, or an empty one", diags);
                None
            }
            (Ok(None), None) => Some(Looked::NotMade),
            (Ok(Some(home)), Some(known)) if known != home => {
                self.lost(what, "the store there is another one, or was made anew", diags);
                None
            }
            (Ok(Some(home)), _) => Some(Looked::There(Met { lab, home })),
            (Err(error), _) => {
                say(&error, "Store not usable", diags);
                None
            }
        }
    }

    fn lost(&self, what: &str, found: &str, diags: &mut Diagnostics) {
        let place = self.lab.as_ref().map_or_else(String::new, |lab| lab.place());
        let detail = format!(
            "The state says that {what} is kept in another store than {place}: {found}. Nothing is taken for gone because \
             of that. Name the store that it was made in, or put its backup back; if it is lost for good, forget what was \
             in it (terraform state rm) and apply again."
        );
        diags.error(None, "Not the store of this state", detail);
    }
}

/// The namespace of a lab.
pub fn namespace(of: &labyard_driver::ids::Namespace) -> Namespace {
    Namespace(of.to_string())
}

/// Adds what was refused, at its attribute where there is one.
pub fn say(error: &LabError, doing: &str, diags: &mut Diagnostics) {
    let at = |name: &str| Some(Path::attribute(name));
    match error {
        LabError::Refused(Refusal::Unusable(problem)) => shape::report([problem.clone()], diags),
        LabError::Refused(refusal @ Refusal::CodeTaken) => {
            diags.error(at("code"), doing, sentence(refusal));
        }
        LabError::PoolExists(name) => diags.error(at("name"), doing, exists("a pool", name.as_str())),
        LabError::Refused(Refusal::CodeExists { name }) => {
            diags.error(at("name"), doing, exists("an access code", name.as_str()));
        }
        LabError::PoolReplaced(name) => diags.error(None, doing, replaced("Pool", name.as_str())),
        LabError::Refused(Refusal::CodeReplaced { name }) => {
            diags.error(None, doing, replaced("Access code", name.as_str()));
        }
        LabError::Unusable(error) => {
            let named = match error {
                StoreError::Key { .. } | StoreError::OtherKey { .. } => "store_key_file",
                _ => "store",
            };
            let detail = format!("{} ({named} of the provider block.)", sentence(error));
            diags.error(None, doing, detail);
        }
        LabError::Daemon(error) => remote::say(error, doing, diags),
        LabError::BeingMade { .. } => diags.error(at("name"), doing, sentence(error)),
        LabError::Refused(_) | LabError::Unsettled(_) => diags.error(None, doing, sentence(error)),
    }
}

fn exists(what: &str, name: &str) -> String {
    format!(
        "The store has {what} {name} of this namespace already. If it is meant to be this one, take it up: terraform \
         import ADDRESS {name}. Otherwise choose another name, or a namespace of this state's own."
    )
}

fn replaced(what: &str, name: &str) -> String {
    format!(
        "{what} {name} was removed and made anew by somebody else: it is not the one of this state, and is left as it is. \
         Forget the old one (terraform state rm), and take up the new one (terraform import ADDRESS {name})."
    )
}

fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = capitalised(chain(error));
    if !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

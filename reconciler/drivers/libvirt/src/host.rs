//! The host: its connection, made when needed and made anew when lost, and what is read of it once.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use labyard_driver::DriverError;
use labyard_driver::hold::Calls;
use labyard_driver::ids::PoolName;
use labyard_driver::observed::{HostFacts, Offers, PoolKind};
use libvirt_rpc::flags::StorageXml;
use libvirt_rpc::{
    Access, CapabilitiesOf, ConnectOptions, ConnectUri, Connection, Gate, PoolRef, Reach, Transport,
    transport,
};
use tokio::sync::OnceCell;

use crate::capabilities::{self, ARCH, MACHINE};
use crate::errors::{Act, During};
use crate::explain;
use crate::files::Opened;
use crate::machine_xml::hardware::Vendor;
use crate::places::{Place, Places};
use crate::volume_xml::{self, PoolDescription};
use crate::xml::Element;

/// How long opening a connection may take to this machine's daemon.
const CONNECT: Duration = Duration::from_secs(10);
/// And to another machine's: SSH servers look up names, and there may be hosts to jump over.
const CONNECT_AFAR: Duration = Duration::from_secs(20);
/// The deadline of a call that names no other. libvirt itself gives up on a machine's lock after 30 s.
const CALL: Duration = Duration::from_secs(40);

/// A host.
pub(crate) struct Host {
    /// As it was configured.
    pub(crate) uri_text: String,
    /// The pool for disks.
    pub(crate) pool: PoolName,
    uri: ConnectUri,
    /// Kept, since connections may share what it has made: by SSH they are channels of one session.
    transport: Arc<dyn Transport>,
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    /// Templates of firmware variables, by path, as they were read.
    pub(crate) templates: tokio::sync::Mutex<BTreeMap<String, Arc<Vec<u8>>>>,
    /// Directories of files that are pools while they are read.
    pub(crate) opened: Arc<Opened>,
    /// Calls made on connections that are gone.
    past_calls: Arc<AtomicU64>,
}

/// A connection whose calls are counted when it is let go.
pub(crate) struct Line {
    connection: Connection,
    past_calls: Arc<AtomicU64>,
}

impl Deref for Line {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.past_calls
            .fetch_add(self.connection.calls().total(), Ordering::Relaxed);
    }
}

/// A connection and what was learnt through it.
pub(crate) struct Session {
    /// The connection.
    pub(crate) connection: Line,
    facts: OnceCell<(HostFacts, Vendor)>,
    offers: OnceCell<Offers>,
    pools: Mutex<BTreeMap<PoolName, Arc<Pool>>>,
}

/// A storage pool.
pub(crate) struct Pool {
    /// libvirt's handle of it.
    pub(crate) reference: PoolRef,
    described: OnceCell<PoolDescription>,
}

/// Holds a process at its calls, where a test has asked for that.
struct Held(&'static Calls);

#[async_trait]
impl Gate for Held {
    async fn before(&self, procedure: &'static str) -> u64 {
        self.0.before(procedure).await
    }

    async fn after(&self, ticket: u64, procedure: &'static str) {
        self.0.after(ticket, procedure).await;
    }
}

/// A connection for streams, which is let go a moment after its owner has let go of it.
///
/// libvirt's daemon locks itself up for good when it has something to send on a stream whose connection has just ended
/// (its stream event handler closes the client while it holds the lock that closing takes; seen with 11.3). So an open
/// stream is aborted first, and the connection ends only when the daemon has had the time to see that.
pub(crate) struct StreamLine {
    line: Option<Line>,
}

/// How long the daemon may take to see the end of a stream.
const FAREWELL: Duration = Duration::from_secs(1);

impl StreamLine {
    /// The connection.
    pub(crate) fn connection(&self) -> Result<&Connection, DriverError> {
        let gone = || DriverError::Unreachable {
            message: "the connection was let go".to_owned(),
        };
        self.line.as_deref().ok_or_else(gone)
    }
}

impl Drop for StreamLine {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        // Without a runtime the process is at its end, and so is the connection.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // Answered after the abort that was sent before it was read.
                let _answered = line.connect_get_lib_version().await;
                tokio::time::sleep(FAREWELL).await;
                drop(line);
            });
        }
    }
}

impl Host {
    pub(crate) fn new(uri_text: &str, pool: PoolName) -> Result<Self, DriverError> {
        let uri: ConnectUri = uri_text.parse().map_err(|error| DriverError::Refused {
            doing: "reading the host's uri".to_owned(),
            message: format!("{error}"),
        })?;
        Ok(Self {
            uri_text: uri_text.to_owned(),
            pool,
            transport: transport(&uri),
            uri,
            session: tokio::sync::Mutex::new(None),
            templates: tokio::sync::Mutex::default(),
            opened: Arc::default(),
            past_calls: Arc::default(),
        })
    }

    /// Whether the connection may only read.
    pub(crate) fn reads_only(&self) -> bool {
        self.uri.access == Access::ReadOnly
    }

    /// Whether round trips to it are dear.
    pub(crate) fn is_afar(&self) -> bool {
        self.uri.reach != Reach::Local
    }

    /// The connection; whoever comes while it is being made waits for that one.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, DriverError> {
        let mut slot = self.session.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.connection.is_lost()) {
            return Ok(Arc::clone(session));
        }
        *slot = None;
        let session = Arc::new(Session {
            connection: self.connect().await?,
            facts: OnceCell::new(),
            offers: OnceCell::new(),
            pools: Mutex::default(),
        });
        *slot = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Gives up the connection: the next call makes another. For one on which calls are stuck.
    pub(crate) async fn abandon(&self, session: &Arc<Session>) {
        let mut slot = self.session.lock().await;
        if slot.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            *slot = None;
        }
    }

    /// A connection of one's own, for events and for calls that may stick.
    pub(crate) async fn connect(&self) -> Result<Line, DriverError> {
        let options = ConnectOptions {
            connect_timeout: match self.is_afar() {
                true => CONNECT_AFAR,
                false => CONNECT,
            },
            deadline: CALL,
            ..ConnectOptions::default()
        };
        let connection = Connection::open_by(self.transport.as_ref(), &self.uri, &options)
            .await
            .map_err(|error| explain::connect(&self.uri_text, &self.uri.reach, &error))?;
        let connection = match Calls::named() {
            Some(calls) => connection.through(Arc::new(Held(calls))),
            None => connection,
        };
        Ok(Line {
            connection,
            past_calls: Arc::clone(&self.past_calls),
        })
    }

    /// A connection of one's own for streams.
    pub(crate) async fn connect_for_streams(&self) -> Result<StreamLine, DriverError> {
        Ok(StreamLine {
            line: Some(self.connect().await?),
        })
    }

    /// Calls made so far, on all connections.
    pub(crate) async fn calls(&self) -> u64 {
        let current = self
            .session
            .lock()
            .await
            .as_ref()
            .map_or(0, |session| session.connection.calls().total());
        current + self.past_calls.load(Ordering::Relaxed)
    }

    /// What the host has, without its pool.
    pub(crate) async fn facts(&self, session: &Session) -> Result<HostFacts, DriverError> {
        self.learnt(session).await.map(|(facts, _)| facts)
    }

    /// Who made the host's processor.
    pub(crate) async fn vendor(&self, session: &Session) -> Result<Vendor, DriverError> {
        self.learnt(session).await.map(|(_, vendor)| vendor)
    }

    async fn learnt(&self, session: &Session) -> Result<(HostFacts, Vendor), DriverError> {
        let act = Act::on("reading", "the host's capabilities");
        let read = || async {
            let text = session.connection.connect_get_capabilities().await.during(&act)?;
            let text = parse(&act, &text)?;
            let facts =
                capabilities::facts(&text).ok_or_else(|| act.refused("the host tells no id of its own"))?;
            Ok((facts, capabilities::vendor(&text)))
        };
        session.facts.get_or_try_init(read).await.cloned()
    }

    /// What the host can give a machine: a long text, for which few ask.
    pub(crate) async fn offers(&self, session: &Session) -> Result<Offers, DriverError> {
        let act = Act::on("reading", "what the host offers");
        let read = || async {
            let connection = &session.connection;
            let domain = async {
                // Nobody who may only read is told this.
                if self.reads_only() {
                    return Ok(None);
                }
                let of = CapabilitiesOf {
                    arch: Some(ARCH),
                    machine: Some(MACHINE),
                    ..CapabilitiesOf::default()
                };
                match connection.connect_get_domain_capabilities(of).await {
                    // The socket for readers, or a policy, may refuse it too.
                    Err(error) if error.is_denied() => Ok(None),
                    answer => answer.map(Some),
                }
            };
            let (text, library) =
                futures::try_join!(domain, connection.connect_get_lib_version()).during(&act)?;
            let domain = text
                .as_deref()
                .map(|text| parse(&act, &capabilities::domain_parts(text)));
            Ok(Offers {
                hypervisor: format!("QEMU under libvirt {library}"),
                cpu_models: text.as_deref().map(capabilities::cpu_models),
                ..capabilities::offers(domain.transpose()?.as_ref(), library)
            })
        };
        session.offers.get_or_try_init(read).await.cloned()
    }

    /// A pool.
    pub(crate) async fn pool(
        &self,
        session: &Session,
        name: &PoolName,
        act: &Act,
    ) -> Result<Arc<Pool>, DriverError> {
        if let Some(pool) = session.pools().get(name) {
            return Ok(Arc::clone(pool));
        }
        let found = session
            .connection
            .storage_pool_lookup_by_name(name.as_str())
            .await;
        let reference = found.map_err(|error| {
            if error.is_no_storage_pool() {
                explain::no_pool(&self.uri_text, name, act)
            } else {
                act.failed(&error)
            }
        })?;
        Ok(session.learn_pool(name, reference))
    }

    /// What went wrong with a call on a pool. One that was made anew under its name is found at the next call.
    pub(crate) async fn pool_failed(
        &self,
        session: &Session,
        name: &PoolName,
        act: &Act,
        error: &libvirt_rpc::Error,
    ) -> DriverError {
        if error.is_no_storage_pool() {
            session.pools().remove(name);
            return explain::no_pool(&self.uri_text, name, act);
        }
        if error.is_invalid_state() {
            let known = session.pools().get(name).cloned();
            if let Some(pool) = known
                && let Ok(false) = session.connection.storage_pool_is_active(&pool.reference).await
            {
                return explain::pool_inactive(&self.uri_text, name, act.doing());
            }
        }
        act.failed(error)
    }

    /// What a pool is, as it was when this connection first asked.
    pub(crate) async fn described(
        &self,
        session: &Session,
        name: &PoolName,
        pool: &Pool,
        act: &Act,
    ) -> Result<PoolDescription, DriverError> {
        let read = || async {
            let text = session
                .connection
                .storage_pool_get_xml_desc(&pool.reference, StorageXml::empty())
                .await;
            match text {
                Ok(text) => Ok(volume_xml::pool(&parse(act, &text)?)),
                Err(error) => Err(self.pool_failed(session, name, act, &error).await),
            }
        };
        pool.described.get_or_try_init(read).await.cloned()
    }

    /// Where the volumes of a pool lie.
    pub(crate) async fn place(
        &self,
        session: &Session,
        name: &PoolName,
        act: &Act,
    ) -> Result<Place, DriverError> {
        let pool = self.pool(session, name, act).await?;
        let described = self.described(session, name, &pool, act).await?;
        match (described.place, described.kind) {
            (Some(place), _) => Ok(place),
            (None, PoolKind::Other(kind)) => Err(explain::pool_of_other_kind(name, &kind, act.doing())),
            (None, _) => Err(explain::pool_of_other_kind(name, "unknown", act.doing())),
        }
    }

    /// Where the volumes of these pools lie.
    pub(crate) async fn places(
        &self,
        session: &Session,
        pools: impl IntoIterator<Item = PoolName>,
        act: &Act,
    ) -> Result<Places, DriverError> {
        let mut places = Places::default();
        for pool in pools {
            if !places.knows(&pool) {
                places.learn(&pool, self.place(session, &pool, act).await?);
            }
        }
        Ok(places)
    }
}

impl Session {
    fn pools(&self) -> MutexGuard<'_, BTreeMap<PoolName, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pool that libvirt told of; what was learnt of another that bore its name is forgotten.
    pub(crate) fn learn_pool(&self, name: &PoolName, reference: PoolRef) -> Arc<Pool> {
        let mut pools = self.pools();
        if let Some(known) = pools.get(name).filter(|known| known.reference == reference) {
            return Arc::clone(known);
        }
        let pool = Arc::new(Pool {
            reference,
            described: OnceCell::new(),
        });
        pools.insert(name.clone(), Arc::clone(&pool));
        pool
    }
}

/// libvirt's XML as a tree.
pub(crate) fn parse(act: &Act, text: &str) -> Result<Element, DriverError> {
    Element::parse(text).map_err(|error| act.refused(format!("libvirt's answer cannot be read: {error}")))
}

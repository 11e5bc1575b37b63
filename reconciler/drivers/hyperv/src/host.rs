//! A host: the client of its service, and what was found out about it once.

use std::collections::HashMap;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use labyard_driver::ids::{ObjectId, PoolName};
use labyard_driver::mark::Mark;
use labyard_driver::observed::{Capacity, ObservedMachine, ObservedNetwork};
use labyard_driver::{DriverError, HostEvent};
use labyard_files::HostFiles;
use tokio::sync::{OnceCell, broadcast};
use wsman::Client;

use crate::classes::{Settings, SwitchSettings};
use crate::disks;
use crate::ids::{Guid, Owner, REALIZED};
use crate::notes;
use crate::places::Directory;
use crate::reading::{self, KnownFile, Reader};
use crate::rows::{HostRows, Rows, Scope, may_see, those};

/// How many disks are looked at at a time; connections bound it as well.
const LOOKS: usize = 8;
/// How many events wait for who is slow.
const EVENTS: usize = 64;
/// How many layers a disk with checkpoints may have.
const LAYERS: usize = 64;
/// The ending of a layer that a checkpoint has put upon a disk.
const LAYER: &str = ".avhdx";

/// A host.
pub struct Host {
    pub(crate) client: Client,
    files: Arc<dyn HostFiles>,
    pub(crate) pool: PoolName,
    pub(crate) directory: Directory,
    facts: OnceCell<Facts>,
    /// A host tells nothing by itself; whoever waits is woken by who looks.
    events: broadcast::Sender<HostEvent>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("client", &self.client)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its lasting id: that of its board.
    pub uuid: String,
    /// Its name.
    pub name: String,
    /// The build of its Windows: 17763 is Server 2019.
    pub build: u32,
    /// In words, in the host's language.
    pub system: String,
    /// Logical processors.
    pub processors: u32,
    /// In MiB.
    pub memory_mib: u64,
}

/// The machines and the networks of a host.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Machines.
    pub machines: Vec<ObservedMachine>,
    /// Switches.
    pub networks: Vec<ObservedNetwork>,
}

impl Host {
    /// Where it tells what has happened.
    pub(crate) fn events(&self) -> &broadcast::Sender<HostEvent> {
        &self.events
    }

    /// The pool that it has.
    pub(crate) fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The files in its directory.
    pub(crate) fn files(&self) -> &dyn HostFiles {
        self.files.as_ref()
    }

    /// The client of its service.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A host whose pool `default` is this directory.
    pub fn new(client: Client, files: Arc<dyn HostFiles>, directory: Directory) -> Self {
        Self {
            client,
            files,
            pool: PoolName::from("default"),
            directory,
            facts: OnceCell::new(),
            events: broadcast::channel(EVENTS).0,
        }
    }

    /// What it is; asked for once.
    ///
    /// # Errors
    /// If the host refuses or does not answer.
    pub async fn facts(&self) -> Result<&Facts, DriverError> {
        let ask = || async {
            let HostRows {
                system,
                computer,
                product,
            } = HostRows::read(&self.client).await?;
            let build = system
                .build
                .as_deref()
                .and_then(|build| build.trim().parse().ok());
            Ok(Facts {
                uuid: product.uuid.unwrap_or_default().to_lowercase(),
                name: computer.name.unwrap_or_default(),
                build: build.ok_or_else(|| DriverError::Refused {
                    doing: "reading the host's build".to_owned(),
                    message: format!("{:?} is none", system.build),
                })?,
                system: system.caption.unwrap_or_default().trim().to_owned(),
                processors: computer.processors.unwrap_or_default(),
                memory_mib: computer.memory.unwrap_or_default() >> 20,
            })
        };
        self.facts.get_or_try_init(ask).await
    }

    /// Everything on it, in a number of requests that does not depend on how many machines there are, and one for each disk of
    /// a machine of ours.
    ///
    /// # Errors
    /// If the host refuses or does not answer: never an empty list instead.
    pub async fn look(&self) -> Result<Seen, DriverError> {
        let rows = Rows::read(&self.client, Scope::Host).await?;
        let mut reader = self.reader(HashMap::new());
        let ours: Vec<Guid> = reading::machines(&rows, &reader)
            .iter()
            .filter(|machine| machine.mark.ours().is_some())
            .filter_map(|machine| machine.id.as_str().parse().ok())
            .collect();
        reader.files = self
            .known(reading::files(&rows, |guid| ours.contains(&guid)))
            .await;
        Ok(Seen {
            machines: reading::machines(&rows, &reader),
            networks: reading::networks(&rows),
        })
    }

    /// One machine, read now.
    ///
    /// # Errors
    /// [`DriverError::Missing`] where it is certain that there is none.
    pub async fn machine(&self, id: &ObjectId) -> Result<ObservedMachine, DriverError> {
        let missing = || DriverError::Missing {
            what: format!("machine {id}"),
        };
        let guid: Guid = id.as_str().parse().map_err(|_| missing())?;
        let rows = Rows::read(&self.client, Scope::Machine(guid)).await?;
        let mut reader = self.reader(HashMap::new());
        reader.files = self.known(reading::files(&rows, |_| true)).await;
        reading::machines(&rows, &reader)
            .into_iter()
            .next()
            .ok_or_else(missing)
    }

    /// The marks of all machines and switches.
    ///
    /// # Errors
    /// If the host refuses or does not answer.
    pub async fn marks(&self) -> Result<Vec<(ObjectId, Mark)>, DriverError> {
        let machines = those::<Settings>(&self.client, |select| select.equal("VirtualSystemType", REALIZED));
        let switches = those::<SwitchSettings>(&self.client, |select| select);
        let ((), machines, switches) = tokio::try_join!(may_see(&self.client), machines, switches)?;
        let machines = machines.into_iter().map(|row| (row.id, row.notes));
        let switches = switches.into_iter().map(|row| (row.id, row.notes));
        let marks = machines.chain(switches).filter_map(|(id, notes)| {
            let Owner::One(guid) = Owner::of(&id?)? else {
                return None;
            };
            let mark = notes::read(notes?.first()?).mark.ours()?.clone();
            Some((guid.into(), mark))
        });
        Ok(marks.collect())
    }

    fn reader(&self, files: HashMap<String, KnownFile>) -> Reader {
        Reader {
            pool: (self.pool.clone(), self.directory.clone()),
            files,
        }
    }

    /// What is known of virtual disks by their files in small letters, a few looked at at a time. One that cannot be told is unknown,
    /// which is no reason not to tell of the others.
    async fn known(&self, files: Vec<String>) -> HashMap<String, KnownFile> {
        let files = files.into_iter().filter(|file| {
            let file = file.to_lowercase();
            file.ends_with(".vhdx") || file.ends_with(".vhd") || file.ends_with(LAYER)
        });
        let looks = stream::iter(files).map(|file| async move {
            let capacity = match disks::look(&self.client, &file).await {
                Ok(disk) => Capacity::Known(disk.size),
                Err(DriverError::Missing { .. }) => Capacity::Missing,
                Err(_) => Capacity::Unknown,
            };
            let base = match file.to_lowercase().ends_with(LAYER) {
                true => self.base(&file).await.ok(),
                false => None,
            };
            (file.to_lowercase(), KnownFile { capacity, base })
        });
        looks.buffer_unordered(LOOKS).collect().await
    }

    /// The file that a disk was made as, below the layers that checkpoints have put upon it.
    ///
    /// # Errors
    /// What the host says of one of them.
    pub async fn base(&self, file: &str) -> Result<String, DriverError> {
        let mut file = file.to_owned();
        for _ in 0..LAYERS {
            if !file.to_lowercase().ends_with(LAYER) {
                return Ok(file);
            }
            let below = disks::look(&self.client, &file).await?.parent;
            file = below.ok_or_else(|| DriverError::Refused {
                doing: format!("looking at {file}"),
                message: "it is a checkpoint's layer and stands on nothing".to_owned(),
            })?;
        }
        Err(DriverError::Refused {
            doing: format!("looking at {file}"),
            message: format!("it has more than {LAYERS} layers"),
        })
    }
}

//! A host read in bulk: the rows of some fifteen classes, asked for side by side. Their number does not depend on how many machines
//! there are; only the pages do.

use labyard_driver::DriverError;
use wsman::{CimClass, Client, wql::Select};

use crate::classes::{
    BootSource, ComputerProduct, ComputerSystem, Connection, Drive, EmulatedPort, GuestNetwork, Machine,
    ManagementService, Medium, Memory, OperatingSystem, PortVlan, Processor, Security, Settings, Switch,
    SwitchSettings, SyntheticPort,
};
use crate::errors::failed;
use crate::ids::Guid;

/// What a host has of each class, as it came.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each is the rows of its class")]
pub struct Rows {
    pub machines: Vec<Machine>,
    pub settings: Vec<Settings>,
    pub memory: Vec<Memory>,
    pub processors: Vec<Processor>,
    pub security: Vec<Security>,
    pub drives: Vec<Drive>,
    pub media: Vec<Medium>,
    pub cards: Vec<SyntheticPort>,
    pub older_cards: Vec<EmulatedPort>,
    pub connections: Vec<Connection>,
    pub vlans: Vec<PortVlan>,
    pub boot_sources: Vec<BootSource>,
    pub guest_networks: Vec<GuestNetwork>,
    pub switches: Vec<Switch>,
    pub switch_settings: Vec<SwitchSettings>,
}

/// The host itself.
#[derive(Clone, Debug, Default)]
pub struct HostRows {
    /// Windows.
    pub system: OperatingSystem,
    /// The computer.
    pub computer: ComputerSystem,
    /// Its board.
    pub product: ComputerProduct,
}

/// All rows of a class.
pub(crate) async fn all<T: CimClass>(client: &Client) -> Result<Vec<T>, DriverError> {
    those(client, |select| select).await
}

/// The rows of a class that fit.
pub(crate) async fn those<T: CimClass>(
    client: &Client,
    narrow: impl FnOnce(Select) -> Select,
) -> Result<Vec<T>, DriverError> {
    let rows = client.those::<T>(narrow).await;
    rows.map_err(|error| failed(format!("reading {}", T::TABLE.name), error))
}

/// How much of a host is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All machines.
    Host,
    /// One, and the switches.
    Machine(Guid),
}

impl Scope {
    /// The rows of a class, of these machines: those whose property begins so where it is of one.
    async fn rows<T: CimClass>(
        self,
        client: &Client,
        property: &str,
        before: &str,
    ) -> Result<Vec<T>, DriverError> {
        match self {
            Self::Host => all(client).await,
            Self::Machine(guid) => {
                those(client, |select| {
                    select.starting(property, &format!("{before}{guid}"))
                })
                .await
            }
        }
    }

    /// The same of a class whose ids begin with that of the machine's settings.
    async fn settings<T: CimClass>(self, client: &Client) -> Result<Vec<T>, DriverError> {
        self.rows(client, "InstanceID", "Microsoft:").await
    }
}

/// The only row of a class.
async fn only<T: CimClass>(client: &Client) -> Result<T, DriverError> {
    let doing = format!("reading {}", T::TABLE.name);
    all::<T>(client)
        .await?
        .into_iter()
        .next()
        .ok_or(DriverError::Refused {
            doing,
            message: "the host shows none; the account may not read it".to_owned(),
        })
}

/// Fails where nothing would be seen though something is there: an account without the right to see Hyper-V gets empty lists and
/// no error.
pub async fn may_see(client: &Client) -> Result<(), DriverError> {
    match all::<ManagementService>(client).await?.is_empty() {
        false => Ok(()),
        true => Err(DriverError::Refused {
            doing: "reading the machines".to_owned(),
            message: "the host shows this account nothing of Hyper-V: it is not a member of the group Hyper-V Administrators (on the host, in \
                      PowerShell: Add-LocalGroupMember -SID S-1-5-32-578 -Member ACCOUNT), or the service vmms does not run \
                      (Start-Service vmms)"
                .to_owned(),
        }),
    }
}

impl HostRows {
    /// Reads them.
    ///
    /// # Errors
    /// If the host refuses or does not answer.
    pub async fn read(client: &Client) -> Result<Self, DriverError> {
        let (system, computer, product) = tokio::try_join!(only(client), only(client), only(client))?;
        Ok(Self {
            system,
            computer,
            product,
        })
    }
}

impl Rows {
    /// Reads them, all or none, side by side. Of a machine that there is not nothing comes.
    ///
    /// # Errors
    /// If the account may not see Hyper-V, or any of them cannot be read.
    pub async fn read(client: &Client, scope: Scope) -> Result<Self, DriverError> {
        let machines = async {
            tokio::try_join!(
                scope.rows(client, "Name", ""),
                scope.settings(client),
                scope.settings(client),
                scope.settings(client),
                scope.settings(client),
                scope.rows(client, "InstanceID", r"Microsoft:GuestNetwork\"),
                scope.settings(client),
            )
        };
        let devices = async {
            tokio::try_join!(
                scope.settings(client),
                scope.settings(client),
                scope.settings(client),
                scope.settings(client),
                scope.settings(client),
                scope.settings(client),
            )
        };
        let switches = async { tokio::try_join!(all(client), all(client)) };
        let ((), machines, devices, switches) =
            tokio::try_join!(may_see(client), machines, devices, switches)?;
        let (machines, settings, memory, processors, security, guest_networks, boot_sources) = machines;
        let (drives, media, cards, older_cards, connections, vlans) = devices;
        let (switches, switch_settings) = switches;
        Ok(Self {
            machines,
            settings,
            memory,
            processors,
            security,
            drives,
            media,
            cards,
            older_cards,
            connections,
            vlans,
            boot_sources,
            guest_networks,
            switches,
            switch_settings,
        })
    }
}

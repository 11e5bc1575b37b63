//! A host read in bulk: the rows of some twenty classes, asked for side by side. Their number does not depend on how many machines
//! there are; only the pages do.

use labyard_driver::DriverError;
use wsman::{CimClass, Client, wql::Select};

use crate::classes::{
    BootSource, ComputerProduct, ComputerSystem, Connection, Drive, EmulatedPort, GuestNetwork, InternalPort,
    Machine, ManagementService, Medium, Memory, OperatingSystem, PortSecurity, PortVlan, Processor, Security,
    Settings, Switch, SwitchSettings, SyntheticPort,
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
    pub port_security: Vec<PortSecurity>,
    pub boot_sources: Vec<BootSource>,
    pub guest_networks: Vec<GuestNetwork>,
    pub switches: Vec<Switch>,
    pub switch_settings: Vec<SwitchSettings>,
    pub host_ports: Vec<InternalPort>,
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

/// Those rows of a class that belong to one machine.
async fn of<T: CimClass>(client: &Client, machine: Guid) -> Result<Vec<T>, DriverError> {
    those(client, |select| {
        select.starting("InstanceID", &machine.settings_id())
    })
    .await
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
    /// Reads them, all or none.
    ///
    /// # Errors
    /// If the account may not see Hyper-V, or any of them cannot be read.
    pub async fn read(client: &Client) -> Result<Self, DriverError> {
        let own = async {
            tokio::try_join!(
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
            )
        };
        let others = async {
            tokio::try_join!(
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
                all(client),
            )
        };
        let ((), own, others) = tokio::try_join!(may_see(client), own, others)?;
        let (machines, settings, memory, processors, security, drives, media, cards, older_cards) = own;
        let (
            connections,
            vlans,
            port_security,
            boot_sources,
            guest_networks,
            switches,
            switch_settings,
            host_ports,
        ) = others;
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
            port_security,
            boot_sources,
            guest_networks,
            switches,
            switch_settings,
            host_ports,
        })
    }

    /// Reads what belongs to one machine, and the switches. Nothing of it where there is no such machine.
    ///
    /// # Errors
    /// As of [`Rows::read`].
    pub async fn of_machine(client: &Client, guid: Guid) -> Result<Self, DriverError> {
        let name = guid.to_string();
        let guests = format!(r"Microsoft:GuestNetwork\{guid}");
        let own = async {
            tokio::try_join!(
                those(client, |select| select.equal("Name", &name)),
                of(client, guid),
                of(client, guid),
                of(client, guid),
                of(client, guid),
                of(client, guid),
                of(client, guid),
                of(client, guid),
            )
        };
        let others = async {
            tokio::try_join!(
                of(client, guid),
                of(client, guid),
                of(client, guid),
                of(client, guid),
                of(client, guid),
                those(client, |select| select.starting("InstanceID", &guests)),
                all(client),
            )
        };
        let ((), own, others) = tokio::try_join!(may_see(client), own, others)?;
        let (machines, settings, memory, processors, security, drives, media, cards) = own;
        let (older_cards, connections, vlans, port_security, boot_sources, guest_networks, switches) = others;
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
            port_security,
            boot_sources,
            guest_networks,
            switches,
            ..Self::default()
        })
    }
}

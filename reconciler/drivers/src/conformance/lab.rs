//! What a case works with: names of its own, expectations, and clean-up.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;

use super::{Fixture, Guest, Guests, sample};
use crate::ids::{Bytes, ObjectId, PoolName, ScreenName, VolumeName};
use crate::observed::{Ability, MachineDetail, ObservedMachine, ObservedNetwork, Power};
use crate::screen::Screen;
use crate::spec::{MachineSpec, NetworkSpec, VolumeContent};
use crate::{Driver, DriverError};

/// The workplace of one case.
pub struct Lab<'a> {
    /// The host.
    pub fixture: &'a dyn Fixture,
    /// Its driver.
    pub driver: Arc<dyn Driver>,
    /// Its pool.
    pub pool: PoolName,
    made: Mutex<Vec<Made>>,
}

/// Something that a case may leave behind.
enum Made {
    Machine(ObjectId),
    Network(ObjectId),
    Volume(PoolName, VolumeName),
    Screen(Screen),
}

/// Why a case failed, and where.
#[derive(Debug)]
pub struct Failure {
    message: String,
    place: &'static Location<'static>,
}

impl Failure {
    /// A failure where it is made.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            place: Location::caller(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}:{})",
            self.message,
            self.place.file(),
            self.place.line()
        )
    }
}

impl From<DriverError> for Failure {
    #[track_caller]
    fn from(error: DriverError) -> Self {
        Self::new(format!("{error} ({error:?})"))
    }
}

/// Fails the case unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failure::new(format!($($what)+)));
        }
    };
}

/// Fails the case unless two values are the same.
macro_rules! ensure_eq {
    ($found:expr, $wanted:expr, $what:expr) => {
        match (&$found, &$wanted) {
            (found, wanted) => {
                ensure!(found == wanted, "{}: found {found:?}, not {wanted:?}", $what);
            }
        }
    };
}

/// Fails the case unless a result is an error of the variant.
macro_rules! ensure_error {
    ($result:expr, $variant:ident) => {
        match $result {
            Err($crate::DriverError::$variant { .. }) => {}
            other => {
                let wanted = stringify!($variant);
                let message = format!("{}: {other:?}, not {wanted}", stringify!($result));
                return Err($crate::conformance::Failure::new(message));
            }
        }
    };
}

pub(super) use {ensure, ensure_eq, ensure_error};

/// How long the host may take to show what has happened.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

impl<'a> Lab<'a> {
    pub(super) fn new(fixture: &'a dyn Fixture) -> Self {
        Self {
            fixture,
            driver: fixture.driver(),
            pool: fixture.pool(),
            made: Mutex::new(Vec::new()),
        }
    }

    fn note(&self, made: Made) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(made);
    }

    /// Whether the host says that it can do something that not every host can.
    pub async fn can(&self, what: Ability) -> Result<bool, DriverError> {
        Ok(self.driver.offers().await?.abilities.contains(&what))
    }

    /// A machine that is not there yet, without devices.
    pub fn machine(&self, hint: &str) -> MachineSpec {
        let mut spec = sample::machine(&self.fixture.fresh_name(hint));
        spec.accelerator = self.fixture.accelerator();
        spec.firmware = self.fixture.firmware();
        self.note(Made::Machine(spec.id.clone()));
        spec
    }

    /// Marks a machine for clean-up that a case named itself.
    pub fn adopt_machine(&self, id: &ObjectId) {
        self.note(Made::Machine(id.clone()));
    }

    /// A machine that is recorded and defined.
    pub async fn defined(&self, hint: &str) -> Result<MachineSpec, Failure> {
        let mut spec = self.machine(hint);
        self.define(&mut spec).await?;
        Ok(spec)
    }

    /// Records a machine, which from then on has the id that the host gave it.
    pub async fn record(&self, spec: &mut MachineSpec) -> Result<ObservedMachine, DriverError> {
        let seen = self.driver.record_machine(spec).await?;
        if seen.id != spec.id {
            self.adopt_machine(&seen.id);
            spec.id = seen.id.clone();
        }
        Ok(seen)
    }

    /// Makes a network, which from then on has the id that the host gave it.
    pub async fn create(&self, spec: &mut NetworkSpec) -> Result<ObservedNetwork, DriverError> {
        let seen = self.driver.create_network(spec).await?;
        if seen.id != spec.id {
            self.adopt_network(&seen.id);
            spec.id = seen.id.clone();
        }
        Ok(seen)
    }

    /// Records and defines a machine.
    pub async fn define(&self, spec: &mut MachineSpec) -> Result<ObservedMachine, Failure> {
        self.record(spec).await?;
        Ok(self.driver.define_machine(spec).await?)
    }

    /// A network that is not there yet.
    pub fn network(&self, hint: &str) -> Result<NetworkSpec, Failure> {
        let net = self
            .fixture
            .free_net()
            .ok_or_else(|| Failure::new("the fixture has no net left"))?;
        let spec = sample::network(&self.fixture.fresh_name(hint), net);
        self.note(Made::Network(spec.id.clone()));
        Ok(spec)
    }

    /// Marks a network for clean-up that a case named itself.
    pub fn adopt_network(&self, id: &ObjectId) {
        self.note(Made::Network(id.clone()));
    }

    /// The name of a volume that is not there yet.
    pub fn volume(&self, hint: &str) -> VolumeName {
        let name = VolumeName(self.fixture.fresh_name(hint));
        self.note(Made::Volume(self.pool.clone(), name.clone()));
        name
    }

    /// Marks a volume for clean-up that a case named itself.
    pub fn adopt_volume(&self, pool: &PoolName, name: &VolumeName) {
        self.note(Made::Volume(pool.clone(), name.clone()));
    }

    /// A blank disk of 64 MiB that is there.
    pub async fn disk(&self, hint: &str) -> Result<VolumeName, Failure> {
        let name = self.volume(hint);
        self.driver
            .create_volume(&sample::blank(&self.pool, &name))
            .await?;
        Ok(name)
    }

    /// A volume that goes into a CD drive: an image of nothing, which begins as one of a CD does (ECMA-119 8.1).
    pub async fn medium(&self, hint: &str) -> Result<VolumeName, Failure> {
        let name = self.volume(hint);
        let mut image = vec![0; 64 << 10];
        image[(32 << 10) + 1..][..5].copy_from_slice(b"CD001");
        let length = Bytes(image.len() as u64);
        let content = VolumeContent::Upload { length };
        self.driver
            .create_volume(&sample::volume(&self.pool, &name, content))
            .await?;
        let stream = futures::stream::iter([Ok(image.into())]).boxed();
        self.driver
            .upload(&self.pool, &name, length, stream, SHOWS_WITHIN)
            .await?;
        Ok(name)
    }

    /// A screen before all cards of a machine, not there yet.
    pub fn screen(&self, spec: &MachineSpec) -> Screen {
        let screen = Screen {
            of: spec.id.clone(),
            name: ScreenName(self.fixture.fresh_name("screen")),
            nics: spec.nics.iter().map(|nic| nic.mac).collect(),
        };
        self.note(Made::Screen(screen.clone()));
        screen
    }

    /// A machine that boots, not there yet.
    pub fn bootable(&self, hint: &str) -> Result<(MachineSpec, Guest), Failure> {
        let Guests::Boot(guest) = self.fixture.guests() else {
            return Err(Failure::new("the fixture has no guest that boots"));
        };
        let mut spec = self.machine(hint);
        spec.memory = guest.memory;
        spec.direct_boot = Some(guest.direct_boot.clone());
        Ok((spec, guest))
    }

    /// The definition of a machine, read now.
    pub async fn detail(&self, id: &ObjectId) -> Result<MachineDetail, Failure> {
        known(&self.driver.machine(id).await?)
    }

    /// Waits until a machine is seen in a state.
    pub async fn until_power(&self, id: &ObjectId, wanted: Power) -> Result<(), Failure> {
        let is_so = async || Ok(self.driver.machine(id).await?.power == wanted);
        self.until(&format!("the machine is seen {wanted:?}"), SHOWS_WITHIN, is_so)
            .await
    }

    /// Waits until a condition holds.
    pub async fn until(
        &self,
        what: &str,
        limit: Duration,
        mut holds: impl AsyncFnMut() -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + limit;
        while !holds().await? {
            ensure!(
                tokio::time::Instant::now() < deadline,
                "not within {limit:?}: {what}"
            );
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub(super) async fn clean_up(self) -> Result<(), Failure> {
        let made = self.made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let driver = &self.driver;
        for machine in made.iter() {
            if let Made::Machine(id) = machine {
                gone_is_fine(driver.power_off(id).await)?;
                driver.remove_machine(id).await?;
            }
        }
        for other in made {
            match other {
                Made::Machine(_) => {}
                Made::Screen(screen) => driver.remove_screen(&screen).await?,
                Made::Network(id) => driver.remove_network(&id).await?,
                Made::Volume(pool, name) => driver.delete_volume(&pool, &name).await?,
            }
        }
        Ok(())
    }
}

/// The definition of a machine that was read.
pub(super) fn known(machine: &ObservedMachine) -> Result<MachineDetail, Failure> {
    let detail = machine.detail.known().cloned();
    detail.ok_or_else(|| {
        Failure::new(format!(
            "the detail of {} is {:?}",
            machine.host_name, machine.detail
        ))
    })
}

fn gone_is_fine(result: Result<(), DriverError>) -> Result<(), DriverError> {
    match result {
        Err(DriverError::Missing { .. }) => Ok(()),
        other => other,
    }
}

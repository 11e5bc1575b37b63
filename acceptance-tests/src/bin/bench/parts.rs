//! The parts of the page. Each is measured by itself, and what is compared in it was measured in the same run.

use crate::subjects::{Programs, Subject};
use crate::{boot, calls, cycles, drift, events, examples, handshake, link, recycle, schema};
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::{HarnessError, Host};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The provider by itself, and the commands with up to 200 machines against all it stands on.
    Line,
    /// How cost grows up to 1,000 machines.
    Fleet,
    /// A host at the end of a long way.
    Link,
    /// Drift detection on 200 machines.
    Drift,
    /// Apply to address.
    Boot,
    /// Claims against bare commits.
    Claims,
    /// Machines that go back.
    Recycle,
    /// A pass where nothing is to be done.
    Pass,
    /// Events to many who listen.
    Events,
}

impl Part {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 9] = [
        Self::Line,
        Self::Fleet,
        Self::Link,
        Self::Drift,
        Self::Boot,
        Self::Claims,
        Self::Recycle,
        Self::Pass,
        Self::Events,
    ];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Fleet => "fleet",
            Self::Link => "link",
            Self::Drift => "drift",
            Self::Boot => "boot",
            Self::Claims => "claims",
            Self::Recycle => "recycle",
            Self::Pass => "pass",
            Self::Events => "events",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// How much is measured.
pub struct Extent {
    /// Processes started for the handshake, of each program.
    pub handshakes: usize,
    /// Machines, and how often their whole cycle is gone through.
    pub sizes: Vec<(usize, usize)>,
    /// No-op plans in each cycle.
    pub noops: usize,
    /// The same for the growth of cost.
    pub fleet: Vec<(usize, usize)>,
    /// Machines at the end of a long way, and plans by each.
    pub link: (usize, usize),
    /// Machines whose drift is looked for, and how often.
    pub drift: (usize, usize),
    /// Guests started, on each network in each way.
    pub boots: usize,
    /// Claimers at the same moment.
    pub crowds: Vec<usize>,
    /// Visits to a machine of each kind.
    pub visits: usize,
    /// Machines of a pass, on so many hosts.
    pub pass: (usize, usize),
    /// Machines whose events are told, and to how many.
    pub events: (usize, usize),
}

impl Extent {
    /// All that the page shows.
    pub fn whole() -> Self {
        Self {
            handshakes: 41,
            sizes: vec![(1, 7), (50, 3), (200, 3)],
            noops: 3,
            fleet: vec![(50, 3), (100, 3), (200, 3), (500, 2), (1000, 2)],
            link: (200, 5),
            drift: (200, 3),
            boots: 3,
            crowds: vec![1, 100, 1000],
            visits: 5,
            pass: (10_000, 50),
            events: (1000, 100),
        }
    }

    /// To see that the tool works; its medians are worth nothing.
    pub fn quick() -> Self {
        Self {
            handshakes: 5,
            sizes: vec![(1, 1), (5, 1)],
            noops: 1,
            fleet: vec![(2, 1), (4, 1), (8, 1)],
            link: (3, 1),
            drift: (4, 1),
            boots: 1,
            crowds: vec![1, 5],
            visits: 1,
            pass: (40, 2),
            events: (20, 5),
        }
    }
}

/// All that was measured, as far as it was.
#[derive(Default)]
pub struct Results {
    /// The provider by itself and against what it stands on.
    pub line: Option<Line>,
    /// Growth.
    pub fleet: Option<Vec<cycles::Cycles>>,
    /// A long way.
    pub link: Option<link::Links>,
    /// Drift detection.
    pub drift: Option<drift::Drifts>,
    /// Guests that came up.
    pub boot: Option<boot::Boots>,
    /// Claims.
    pub claims: Option<Vec<examples::OnStore>>,
    /// Machines that went back.
    pub recycle: Option<recycle::Recycled>,
    /// A pass.
    pub pass: Option<examples::Pass>,
    /// Events.
    pub events: Option<events::Delivered>,
}

/// The provider by itself, and against what it stands on.
#[derive(Serialize, Deserialize)]
pub struct Line {
    /// Process start to first line.
    pub handshakes: handshake::Handshakes,
    /// What Terraform reads first.
    pub schemas: schema::Schemas,
    /// Bytes of the programs.
    pub programs: schema::Programs,
    /// Calls to libvirt.
    pub calls: Vec<calls::Counted>,
    /// Terraform's commands, by number of machines.
    pub cycles: Vec<cycles::Cycles>,
}

/// Measures a part.
pub fn measure(part: Part, programs: &Programs, extent: &Extent, results: &mut Results) -> Result<()> {
    match part {
        Part::Line => results.line = Some(line(programs, extent)?),
        Part::Fleet => results.fleet = Some(fleet(programs, extent)?),
        Part::Link => results.link = Some(link::measure(programs, extent.link)?),
        Part::Drift => results.drift = Some(drift::measure(programs, extent.drift)?),
        Part::Boot => results.boot = Some(boot::measure(programs, &Host::start()?, extent.boots)?),
        Part::Claims => results.claims = Some(examples::claims(programs, &extent.crowds)?),
        Part::Recycle => results.recycle = Some(recycle::measure(programs, &Host::start()?, extent.visits)?),
        Part::Pass => results.pass = Some(examples::pass(programs, extent.pass)?),
        Part::Events => results.events = Some(events::measure(programs, extent.events)?),
    }
    Ok(())
}

fn line(programs: &Programs, extent: &Extent) -> Result<Line> {
    eprintln!("handshake");
    let handshakes = handshake::measure(programs, extent.handshakes)?;
    let schemas = schema::measure(programs)?;
    let host = Host::start()?;
    let sizes: Vec<_> = extent.sizes.iter().map(|(size, _)| *size).take(2).collect();
    let calls = calls::measure(programs, &host, &sizes)?;
    let cycles = extent.sizes.iter().map(|(size, rounds)| {
        let round = cycles::Rounds {
            machines: *size,
            rounds: *rounds,
            noops: extent.noops,
        };
        cycles::measure(programs, &host, &Subject::ALL, round)
    });
    Ok(Line {
        handshakes,
        schemas,
        programs: schema::programs(programs)?,
        calls,
        cycles: cycles.collect::<Result<_>>()?,
    })
}

fn fleet(programs: &Programs, extent: &Extent) -> Result<Vec<cycles::Cycles>> {
    let host = Host::start()?;
    let sizes = extent.fleet.iter().map(|(size, rounds)| {
        let round = cycles::Rounds {
            machines: *size,
            rounds: *rounds,
            noops: extent.noops,
        };
        cycles::measure(programs, &host, &Subject::FLEET, round)
    });
    sizes.collect()
}

impl Results {
    /// What was kept of earlier runs; what cannot be read was none.
    pub fn kept(directory: &Path) -> Self {
        fn read<T: for<'de> Deserialize<'de>>(directory: &Path, part: Part) -> Option<T> {
            serde_json::from_slice(&std::fs::read(file(directory, part)).ok()?).ok()
        }
        Self {
            line: read(directory, Part::Line),
            fleet: read(directory, Part::Fleet),
            link: read(directory, Part::Link),
            drift: read(directory, Part::Drift),
            boot: read(directory, Part::Boot),
            claims: read(directory, Part::Claims),
            recycle: read(directory, Part::Recycle),
            pass: read(directory, Part::Pass),
            events: read(directory, Part::Events),
        }
    }

    /// Keeps all of it.
    pub fn keep(&self, directory: &Path) -> Result<()> {
        fn write(directory: &Path, part: Part, what: Option<&impl Serialize>) -> Result<()> {
            let Some(what) = what else { return Ok(()) };
            let path = file(directory, part);
            let text = serde_json::to_vec_pretty(what).map_err(|error| HarnessError::Unreadable {
                what: part.name().to_owned(),
                text: error.to_string(),
            })?;
            std::fs::write(&path, text).map_err(HarnessError::file(format!("write {}", path.display())))
        }
        std::fs::create_dir_all(directory)
            .map_err(HarnessError::file(format!("create {}", directory.display())))?;
        write(directory, Part::Line, self.line.as_ref())?;
        write(directory, Part::Fleet, self.fleet.as_ref())?;
        write(directory, Part::Link, self.link.as_ref())?;
        write(directory, Part::Drift, self.drift.as_ref())?;
        write(directory, Part::Boot, self.boot.as_ref())?;
        write(directory, Part::Claims, self.claims.as_ref())?;
        write(directory, Part::Recycle, self.recycle.as_ref())?;
        write(directory, Part::Pass, self.pass.as_ref())?;
        write(directory, Part::Events, self.events.as_ref())
    }
}

fn file(directory: &Path, part: Part) -> PathBuf {
    directory.join(format!("{}.json", part.name()))
}

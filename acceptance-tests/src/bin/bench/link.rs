//! A host at the end of a long way: plans over a line of 50 ms, by TLS and by SSH, against the same line without delay.

use crate::cycles::Verb;
use crate::figures::Figures;
use crate::subjects::{Programs, Subject, fleet, provider};
use labyard_acceptance_tests::Terraform;
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::far::{Far, RelayedBy, Way};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Each way.
const DELAY: Duration = Duration::from_millis(25);

/// What was measured.
#[derive(Serialize, Deserialize)]
pub struct Links {
    /// What delays.
    pub by: RelayedBy,
    /// By number of machines and way.
    pub plans: Vec<Plans>,
}

/// No-op plans of so many machines by one way.
#[derive(Serialize, Deserialize)]
pub struct Plans {
    /// How many.
    pub machines: usize,
    /// How the host is reached.
    pub way: Way,
    /// By the host's own socket.
    pub local: Figures,
    /// Without delay.
    pub near: Figures,
    /// With it.
    pub far: Figures,
    /// How often the provider waited for an answer.
    pub turns: Figures,
    /// Connections.
    pub connections: Figures,
}

impl Plans {
    /// Round trips that the delay has cost.
    pub fn trips(&self) -> f64 {
        (self.far.median() - self.near.median()) / (2.0 * DELAY.as_secs_f64())
    }
}

/// Plans one machine and so many, so often.
pub fn measure(programs: &Programs, (machines, rounds): (usize, usize)) -> Result<Links> {
    let far = Far::start()?;
    let mut links = Links {
        by: RelayedBy::Relay,
        plans: Vec::new(),
    };
    for machines in [1, machines] {
        let terraform = programs.terraform(Subject::Labyard)?;
        let reach = |uri: &str| terraform.write("main.tf", &(provider(uri) + &fleet(machines)));
        let local = far.host.uri();
        reach(&local)?;
        Verb::Apply.run(&terraform)?;
        for way in [Way::Tls, Way::Ssh] {
            eprintln!("{machines} machines by {way:?}");
            links
                .plans
                .push(by_way(&far, way, machines, rounds, &terraform, &mut links.by)?);
        }
        reach(&local)?;
        Verb::Destroy.run(&terraform)?;
    }
    Ok(links)
}

fn by_way(
    far: &Far,
    way: Way,
    machines: usize,
    rounds: usize,
    terraform: &Terraform<'_>,
    by: &mut RelayedBy,
) -> Result<Plans> {
    let relay = far.relay(way)?;
    let mut plans = Plans {
        machines,
        way,
        local: Figures::default(),
        near: Figures::default(),
        far: Figures::default(),
        turns: Figures::default(),
        connections: Figures::default(),
    };
    let reach = |uri: &str| terraform.write("main.tf", &(provider(uri) + &fleet(machines)));
    for _ in 0..rounds {
        reach(&far.host.uri())?;
        plans.local.add(Verb::NoOp.run(terraform)?);
        reach(&far.uri(way, relay.port())?)?;
        plans.near.add(Verb::NoOp.run(terraform)?);
        *by = far.lengthen(&relay, DELAY);
        let (turns, connections) = (relay.turns(), relay.connections());
        let took = Verb::NoOp.run(terraform);
        far.shorten(&relay);
        plans.far.add(took?);
        plans.turns.add_number((relay.turns() - turns) as f64);
        plans
            .connections
            .add_number((relay.connections() - connections) as f64);
    }
    Ok(plans)
}

//! The goals, and whether they are reached.

use super::line;
use crate::cycles::{Cycles, Verb};
use crate::examples::Crowd;
use crate::figures::Line;
use crate::parts::Results;
use crate::subjects::Subject;

/// A figure that was asked for.
struct Goal {
    what: &'static str,
    is: f64,
    at_most: f64,
    unit: &'static str,
}

impl Goal {
    fn of_handshake(line: &crate::parts::Line) -> Self {
        Self {
            what: "handshake",
            is: line.handshakes.median(Subject::Labyard) * 1e3,
            at_most: 5.0,
            unit: "ms",
        }
    }
}

fn noop(cycle: &Cycles, subject: Subject) -> f64 {
    cycle.median(subject, Verb::NoOp)
}

fn of_commands(cycles: &[Cycles], goals: &mut Vec<Goal>) {
    let size = |machines| cycles.iter().find(|c| c.machines == machines);
    if let Some(one) = size(1) {
        goals.push(Goal {
            what: "no-op plan of 1 machine, over hello world",
            is: (noop(one, Subject::Labyard) - noop(one, Subject::Hello)) * 1e3,
            at_most: 20.0,
            unit: "ms",
        });
    }
    if let Some(many) = size(200) {
        goals.push(Goal {
            what: "no-op plan of 200 machines: 1.5 × the same schema in memory + 0.3 s",
            is: noop(many, Subject::Labyard),
            at_most: 1.5 * noop(many, Subject::InMemory) + 0.3,
            unit: "s",
        });
        goals.push(Goal {
            what: "no-op plan of 200 machines: as near as can be to 2 × `terraform_data`",
            is: noop(many, Subject::Labyard),
            at_most: 2.0 * noop(many, Subject::TerraformData),
            unit: "s",
        });
    }
}

/// Cost grows with the count: the longest no-op plan lies on the line through the others.
fn of_growth(fleet: &[Cycles], goals: &mut Vec<Goal>) {
    let [rest @ .., last] = fleet else { return };
    if rest.len() < 2 {
        return;
    }
    let points: Vec<_> = rest
        .iter()
        .map(|c| (c.machines as f64, noop(c, Subject::Labyard)))
        .collect();
    goals.push(Goal {
        what: "no-op plan of the largest fleet: 1.25 × the line through the smaller ones",
        is: noop(last, Subject::Labyard),
        at_most: 1.25 * Line::through(&points).at(last.machines as f64),
        unit: "s",
    });
}

fn of_labs(results: &Results, goals: &mut Vec<Goal>) {
    let crowds: Vec<_> = super::labs::all(results.claims.as_deref().unwrap_or_default())
        .map(|(_, crowd)| crowd)
        .collect();
    if !crowds.is_empty() {
        let most =
            |ratio: fn(&Crowd) -> f64| crowds.iter().map(|crowd| ratio(crowd)).fold(f64::NAN, f64::max);
        goals.push(Goal {
            what: "a claim at p50 against a bare durable commit, with any number of claimers on either store",
            is: most(|crowd| crowd.claim.p50 / crowd.commit.p50),
            at_most: 3.0,
            unit: "×",
        });
        goals.push(Goal {
            what: "the same at p99",
            is: most(|crowd| crowd.claim.p99 / crowd.commit.p99),
            at_most: 5.0,
            unit: "×",
        });
    }
    if let Some(recycled) = &results.recycle {
        goals.push(Goal {
            what: "release to free by reset: 0.3 × the same by another machine",
            is: recycled.reset.median(),
            at_most: 0.3 * recycled.recreate.median(),
            unit: "s",
        });
    }
    if let Some(pass) = &results.pass {
        goals.push(Goal {
            what: "a pass over 10,000 machines with nothing to do",
            is: super::labs::median(pass),
            at_most: 1.0,
            unit: "s",
        });
        goals.push(Goal {
            what: "the most memory of that process meanwhile",
            is: pass.passes_mib,
            at_most: 200.0,
            unit: "MiB",
        });
    }
}

/// The table.
pub fn goals(results: &Results) -> String {
    let mut goals = Vec::new();
    if let Some(line) = &results.line {
        goals.push(Goal::of_handshake(line));
        of_commands(&line.cycles, &mut goals);
    }
    if let Some(fleet) = &results.fleet {
        of_growth(fleet, &mut goals);
    }
    if let Some(plans) = results.link.as_ref().map(|link| &link.plans) {
        let most = plans
            .iter()
            .map(crate::link::Plans::trips)
            .fold(f64::NAN, f64::max);
        goals.push(Goal {
            what: "round trips that a whole no-op plan costs over a link of 50 ms, with any number of machines",
            is: most,
            at_most: 20.0,
            unit: "",
        });
    }
    if let Some(boots) = &results.boot {
        let apply = boots.apply_ours.median();
        goals.push(Goal {
            what: "apply to address on a network of ours: 1.2 × `virsh start` to lease there + 1 s",
            is: apply,
            at_most: 1.2 * boots.start_ours.median() + 1.0,
            unit: "s",
        });
        goals.push(Goal {
            what: "the same, against `virsh start` to lease on a network as libvirt makes it",
            is: apply,
            at_most: boots.start_plain.median(),
            unit: "s",
        });
    }
    of_labs(results, &mut goals);
    let mut text = "## Goals\n\n| | measured | at most | |\n|---|---:|---:|---|\n".to_owned();
    for goal in goals {
        let verdict = if goal.is <= goal.at_most {
            "reached"
        } else {
            "**missed**"
        };
        let Goal {
            what,
            is,
            at_most,
            unit,
        } = goal;
        line(
            &mut text,
            format_args!("| {what} | {is:.2} {unit} | {at_most:.2} {unit} | {verdict} |"),
        );
    }
    text
}

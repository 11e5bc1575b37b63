//! A host at the end of a long way, and drift detection.

use super::line;
use crate::drift::{Drifts, Steps};
use crate::link::Links;
use labyard_acceptance_tests::far::{RelayedBy, Way};

/// Plans over a long way.
pub fn links(links: &Links) -> String {
    let by = match links.by {
        RelayedBy::Netem => "the kernel (`netem`)",
        RelayedBy::Relay => "a relay (this kernel has no `netem`)",
    };
    let mut text = format!(
        "## Over a link of 50 ms\n\n\
        Seconds of a no-op plan: by the host's own socket, and by a line from outside without and with 25 ms each way, \
        delayed by {by}. Round trips are what the delay has added, in units of 50 ms; turns, how often the provider \
        spoke after it had waited. Terraform starts the provider three times for a plan, and two of them connect.\n\n\
        | machines | way | local | no delay | 50 ms | round trips | turns | connections |\n\
        |---:|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for plans in &links.plans {
        let way = match plans.way {
            Way::Tls => "TLS",
            Way::Ssh => "SSH",
        };
        line(
            &mut text,
            format_args!(
                "| {} | {way} | {:.3} | {:.3} | {:.3} | {:.1} | {:.0} | {:.0} |",
                plans.machines,
                plans.local.median(),
                plans.near.median(),
                plans.far.median(),
                plans.trips(),
                plans.turns.median(),
                plans.connections.median()
            ),
        );
    }
    text
}

/// A CI job that looks for drift.
pub fn drifts(drifts: &Drifts) -> String {
    let mut text = format!(
        "## Drift detection\n\n\
        Seconds of what a CI job runs on {} machines with access that only reads: `terraform plan -out`, `terraform show \
        -json`, and `labyard drift` in all its formats.\n\n\
        | | plan | show | report | all | / `terraform_data` |\n|---|---:|---:|---:|---:|---:|\n",
        drifts.machines
    );
    let floor = drifts.floor.all();
    let changed = format!("labyard, {} changed by hand", drifts.changed);
    for (title, steps) in [
        ("`terraform_data`", &drifts.floor),
        ("labyard, as configured", &drifts.quiet),
        (changed.as_str(), &drifts.drifted),
    ] {
        row(&mut text, title, steps, floor);
    }
    text
}

fn row(text: &mut String, title: &str, steps: &Steps, floor: f64) {
    line(
        text,
        format_args!(
            "| {title} | {:.3} | {:.3} | {:.3} | {:.3} | {:.2} |",
            steps.plan.median(),
            steps.show.median(),
            steps.report.median(),
            steps.all(),
            steps.all() / floor
        ),
    );
}

//! How cost grows with the number of machines.

use super::line;
use crate::cycles::{Cycles, Verb};
use crate::figures::Line;
use crate::subjects::Subject;

/// The commands, each with the line that its figures lie on.
pub fn growth(fleet: &[Cycles]) -> String {
    let mut text = "## Growth\n\n\
        The same commands with ever more machines on one host. The line is the one with the least squares through \
        labyard's figures; \"off it\" is how many seconds a figure lies from it. Terraform's own work bends: what labyard adds \
        to the same schema in memory is shown by itself, and for each machine.\n"
        .to_owned();
    for verb in [Verb::NoOp, Verb::Plan, Verb::Apply, Verb::Destroy] {
        command(&mut text, fleet, verb);
    }
    text
}

fn command(text: &mut String, fleet: &[Cycles], verb: Verb) {
    let points = |of: &dyn Fn(&Cycles) -> f64| -> Vec<_> {
        fleet.iter().map(|c| (c.machines as f64, of(c))).collect()
    };
    let labyard = |c: &Cycles| c.median(Subject::Labyard, verb);
    let own = |c: &Cycles| labyard(c) - c.median(Subject::InMemory, verb);
    let (whole, added) = (Line::through(&points(&labyard)), Line::through(&points(&own)));
    line(
        text,
        format_args!(
            "\n### {}: {:.2} s + {:.2} ms a machine; over the same schema in memory {:.2} s + {:.2} ms\n",
            verb.title(),
            whole.base,
            whole.each * 1e3,
            added.base,
            added.each * 1e3
        ),
    );
    line(
        text,
        format_args!(
            "| machines | `terraform_data` | same schema, in memory | labyard | off it, s | labyard / in memory | ms a machine | \
             over in memory, ms a machine |"
        ),
    );
    line(text, format_args!("|---:|---:|---:|---:|---:|---:|---:|---:|"));
    for cycle in fleet {
        let count = cycle.machines as f64;
        let (is, on_line) = (labyard(cycle), whole.at(count));
        let memory = cycle.median(Subject::InMemory, verb);
        line(
            text,
            format_args!(
                "| {} | {:.3} | {memory:.3} | {is:.3} | {:+.2} | {:.2} | {:.2} | {:.2} |",
                cycle.machines,
                cycle.median(Subject::TerraformData, verb),
                is - on_line,
                is / memory,
                is / count * 1e3,
                own(cycle) / count * 1e3
            ),
        );
    }
}

/// Memory at its most.
pub fn memory(fleet: &[Cycles]) -> String {
    let most = |of: &dyn Fn(Verb) -> f64| Verb::ALL.into_iter().map(of).fold(f64::NAN, f64::max);
    let provider = |c: &Cycles, subject| most(&|verb| c.provider_mib(subject, verb));
    let terraform = |c: &Cycles, subject| most(&|verb| c.terraform_mib(subject, verb));
    let points = |subject| -> Vec<_> {
        fleet
            .iter()
            .map(|c| (c.machines as f64, provider(c, subject)))
            .collect()
    };
    let [labyard, memory] = [Subject::Labyard, Subject::InMemory].map(|s| Line::through(&points(s)));
    let mut text = format!(
        "## Memory\n\n\
        MiB at their most (`VmHWM`), of plan, apply, no-op plan and destroy the greatest. A machine more takes \
        {:.0} KiB of labyard's process, and {:.0} KiB of one with the same schema in memory.\n\n\
        | machines | Terraform with `terraform_data` | Terraform with labyard | labyard | same schema, in memory |\n\
        |---:|---:|---:|---:|---:|\n",
        labyard.each * 1024.0,
        memory.each * 1024.0
    );
    for cycle in fleet {
        line(
            &mut text,
            format_args!(
                "| {} | {:.0} | {:.0} | {:.0} | {:.0} |",
                cycle.machines,
                terraform(cycle, Subject::TerraformData),
                terraform(cycle, Subject::Labyard),
                provider(cycle, Subject::Labyard),
                provider(cycle, Subject::InMemory)
            ),
        );
    }
    text
}

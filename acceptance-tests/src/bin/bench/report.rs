//! The page: what was measured, how, and which goals it reaches.

use crate::Results;
use crate::cycles::{Cycles, Verb};
use crate::subjects::Subject;
use std::fmt::Write as _;

/// The whole page.
pub fn page(machine: &[String], results: &Results) -> String {
    let parts = [
        head(machine),
        goals(results),
        handshake(results),
        cycles(results),
        calls(results),
        schema(results),
        boots(results),
    ];
    parts.join("\n")
}

fn head(machine: &[String]) -> String {
    let lines: String = machine.iter().map(|line| format!("- {line}\n")).collect();
    format!(
        "# Performance\n\n\
        Written by `make bench`: every figure is a median of one run, in which what is compared took turns.\n\n\
        Measured on:\n\n{lines}\n\
        What is compared, each as one object more than there are machines (the network):\n\n\
        - **`terraform_data`**: Terraform's own objects; the floor.\n\
        - **hello world**: the smallest provider on the same protocol crate (`provider/tfplugin/examples/hello.rs`).\n\
        - **same schema, in memory**: labyard's schema on the same crate, with nothing behind it \
        (`provider/examples/in_memory.rs`).\n\
        - **labyard**: stopped machines, each with one linked disk and one NIC, on a libvirt host of the run's own.\n"
    )
}

/// A figure that was asked for.
struct Goal {
    what: &'static str,
    is: f64,
    at_most: f64,
    unit: &'static str,
}

fn goals(results: &Results) -> String {
    let size = |machines| results.cycles.iter().find(|c| c.machines == machines);
    let noop = |c: &Cycles, subject| c.median(subject, Verb::NoOp);
    let mut goals = vec![Goal {
        what: "handshake",
        is: results.handshakes.median(Subject::Labyard) * 1e3,
        at_most: 5.0,
        unit: "ms",
    }];
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
    let apply = results.boots.apply_ours.median();
    goals.push(Goal {
        what: "apply to address on a network of ours: 1.2 × `virsh start` to lease there + 1 s",
        is: apply,
        at_most: 1.2 * results.boots.start_ours.median() + 1.0,
        unit: "s",
    });
    goals.push(Goal {
        what: "the same, against `virsh start` to lease on a network as libvirt makes it",
        is: apply,
        at_most: results.boots.start_plain.median(),
        unit: "s",
    });
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

fn handshake(results: &Results) -> String {
    let mut text = "## Handshake\n\n\
        From the start of the process to the line that Terraform waits for, with a client certificate as Terraform \
        hands one over. Terraform starts a provider three times for a plan and four times for an apply.\n\n\
        | | ms |\n|---|---:|\n"
        .to_owned();
    for subject in [Subject::Hello, Subject::InMemory, Subject::Labyard] {
        let median = results.handshakes.median(subject) * 1e3;
        line(&mut text, format_args!("| {} | {median:.1} |", subject.title()));
    }
    text
}

fn cycles(results: &Results) -> String {
    let mut text = "## Terraform's commands\n\n\
        Seconds of the whole command: `terraform plan`, `terraform apply -auto-approve`, `terraform plan` with \
        nothing to do (`-detailed-exitcode` ends with 0), `terraform destroy -auto-approve`; the provider by \
        `dev_overrides`.\n"
        .to_owned();
    for verb in Verb::ALL {
        line(&mut text, format_args!("\n### {}\n", verb.title()));
        let titles: Vec<_> = Subject::ALL.iter().map(|subject| subject.title()).collect();
        line(
            &mut text,
            format_args!(
                "| machines | {} | labyard / in memory | labyard / `terraform_data` |",
                titles.join(" | ")
            ),
        );
        line(&mut text, format_args!("|---:|---:|---:|---:|---:|---:|---:|"));
        for cycle in &results.cycles {
            let median = |subject| cycle.median(subject, verb);
            let cells: String = Subject::ALL
                .iter()
                .map(|s| format!(" {:.3} |", median(*s)))
                .collect();
            let labyard = median(Subject::Labyard);
            let (memory, floor) = (median(Subject::InMemory), median(Subject::TerraformData));
            line(
                &mut text,
                format_args!(
                    "| {} |{cells} {:.2} | {:.2} |",
                    cycle.machines,
                    labyard / memory,
                    labyard / floor
                ),
            );
        }
    }
    text
}

fn calls(results: &Results) -> String {
    let mut text = "## Calls to libvirt\n\n\
        Counted on the wire between provider and daemon, connecting included.\n\n\
        | command |"
        .to_owned();
    for counted in &results.calls {
        let plural = if counted.machines == 1 { "" } else { "s" };
        let _ = write!(text, " {} machine{plural} |", counted.machines);
    }
    text.push_str(" for each machine more |\n|---|");
    text.push_str(&"---:|".repeat(results.calls.len() + 1));
    text.push('\n');
    for verb in Verb::ALL {
        let _ = write!(text, "| {} |", verb.title());
        for counted in &results.calls {
            let _ = write!(text, " {} |", counted.calls[&verb]);
        }
        if let [few, .., many] = &results.calls[..] {
            let more = many.calls[&verb] as f64 - few.calls[&verb] as f64;
            let _ = write!(text, " {:.1} |", more / (many.machines - few.machines) as f64);
        }
        text.push('\n');
    }
    text
}

fn schema(results: &Results) -> String {
    let mut text = "## Schema\n\n\
        `terraform providers schema -json | wc -c`; what a schema costs, in Terraform and in the provider, shows \
        between hello world and the same schema in memory.\n\n\
        | | bytes | attributes |\n|---|---:|---:|\n"
        .to_owned();
    for (subject, size) in &results.schemas {
        line(
            &mut text,
            format_args!("| {} | {} | {} |", subject.title(), size.bytes, size.attributes),
        );
    }
    text.push_str("\n| machines | no-op plan dearer by the schema | for each object |\n|---:|---:|---:|\n");
    for cycle in &results.cycles {
        let (schema, hello) = (Subject::InMemory, Subject::Hello);
        let dearer = (cycle.median(schema, Verb::NoOp) - cycle.median(hello, Verb::NoOp)) * 1e3;
        let each = dearer / (cycle.machines + 1) as f64;
        line(
            &mut text,
            format_args!("| {} | {dearer:.0} ms | {each:.2} ms |", cycle.machines),
        );
    }
    text
}

fn boots(results: &Results) -> String {
    let boots = &results.boots;
    let mut text = "## Apply to address\n\n\
        Seconds from `terraform apply` of one machine to its end (`ready` is `address`), and from `virsh start` of \
        the same guest to its lease. A network as libvirt makes it holds every guest up: its bridge listens before \
        it forwards, and dnsmasq asks around before it hands out an address.\n\n\
        | network | `terraform apply` | `virsh start` to lease | ratio |\n|---|---:|---:|---:|\n"
        .to_owned();
    for (network, apply, start) in [
        ("of ours", &boots.apply_ours, &boots.start_ours),
        ("as libvirt makes it", &boots.apply_plain, &boots.start_plain),
    ] {
        let (apply, start) = (apply.median(), start.median());
        line(
            &mut text,
            format_args!("| {network} | {apply:.2} | {start:.2} | {:.2} |", apply / start),
        );
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

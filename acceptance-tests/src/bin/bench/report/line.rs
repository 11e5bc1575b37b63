//! The provider by itself, and Terraform's commands against what it stands on.

use super::line;
use crate::boot::Boots;
use crate::cycles::Verb;
use crate::parts::Line;
use crate::subjects::Subject;
use std::fmt::Write as _;

/// Process start to first line.
pub fn handshake(of: &Line) -> String {
    let mut text = "## Handshake\n\n\
        From the start of the process to the line that Terraform waits for, with a client certificate as Terraform \
        hands one over. Terraform starts a provider three times for a plan and four times for an apply.\n\n\
        | | ms |\n|---|---:|\n"
        .to_owned();
    for subject in [Subject::Hello, Subject::InMemory, Subject::Labyard] {
        let median = of.handshakes.median(subject) * 1e3;
        line(&mut text, format_args!("| {} | {median:.1} |", subject.title()));
    }
    text
}

/// The commands.
pub fn commands(of: &Line) -> String {
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
        for cycle in &of.cycles {
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

/// Calls to libvirt.
pub fn calls(of: &Line) -> String {
    let mut text = "## Calls to libvirt\n\n\
        Counted on the wire between provider and daemon, connecting included.\n\n\
        | command |"
        .to_owned();
    for counted in &of.calls {
        let plural = if counted.machines == 1 { "" } else { "s" };
        let _ = write!(text, " {} machine{plural} |", counted.machines);
    }
    text.push_str(" for each machine more |\n|---|");
    text.push_str(&"---:|".repeat(of.calls.len() + 1));
    text.push('\n');
    for verb in Verb::ALL {
        let _ = write!(text, "| {} |", verb.title());
        for counted in &of.calls {
            let _ = write!(text, " {} |", counted.calls[&verb]);
        }
        if let [few, .., many] = &of.calls[..] {
            let more = many.calls[&verb] as f64 - few.calls[&verb] as f64;
            let _ = write!(text, " {:.1} |", more / (many.machines - few.machines) as f64);
        }
        text.push('\n');
    }
    text
}

/// What a schema costs, and how long the programs are.
pub fn schema(of: &Line) -> String {
    let mut text = "## Schema\n\n\
        `terraform providers schema -json | wc -c`; what a schema costs, in Terraform and in the provider, shows \
        between hello world and the same schema in memory.\n\n\
        | | bytes | attributes | executable, MiB |\n|---|---:|---:|---:|\n"
        .to_owned();
    for (subject, size) in &of.schemas {
        line(
            &mut text,
            format_args!(
                "| {} | {} | {} | {:.1} |",
                subject.title(),
                size.bytes,
                size.attributes,
                of.programs
                    .get(subject)
                    .map_or(f64::NAN, |bytes| *bytes as f64 / 1048576.0)
            ),
        );
    }
    text.push_str("\n| machines | no-op plan dearer by the schema | for each object |\n|---:|---:|---:|\n");
    for cycle in &of.cycles {
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

/// Apply to address.
pub fn boots(boots: &Boots) -> String {
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

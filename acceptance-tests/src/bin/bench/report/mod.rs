//! The page: what was measured, how, and which goals it reaches. A part that was never measured is left out.

mod far;
mod fleet;
mod goals;
mod labs;
mod line;

use crate::parts::{Part, Results};
use std::fmt::Write as _;

/// The whole page.
pub fn page(machine: &[String], results: &Results) -> String {
    let mut parts = vec![head(machine), goals::goals(results)];
    if let Some(line) = &results.line {
        parts.extend([
            line::handshake(line),
            line::commands(line),
            line::calls(line),
            line::schema(line),
        ]);
    }
    parts.extend(results.fleet.as_deref().map(fleet::growth));
    parts.extend(results.fleet.as_deref().map(fleet::memory));
    parts.extend(results.link.as_ref().map(far::links));
    parts.extend(results.drift.as_ref().map(far::drifts));
    parts.extend(results.boot.as_ref().map(line::boots));
    parts.extend(results.claims.as_deref().map(labs::claims));
    parts.extend(results.recycle.as_ref().map(labs::recycled));
    parts.extend(results.pass.as_ref().map(labs::pass));
    parts.extend(results.events.as_ref().map(labs::delivered));
    parts.join("\n")
}

fn head(machine: &[String]) -> String {
    let lines: String = machine.iter().map(|line| format!("- {line}\n")).collect();
    format!(
        "# Performance\n\n\
        Written by `make bench`: every figure is a median, and what is compared took turns in one run. \
        `make bench PART=fleet` measures one part anew ({}) and leaves the others.\n\n\
        Measured on:\n\n{lines}\n\
        What is compared, each as one object more than there are machines (the network):\n\n\
        - **`terraform_data`**: Terraform's own objects; the floor.\n\
        - **hello world**: the smallest provider on the same protocol crate (`provider/tfplugin/examples/hello.rs`).\n\
        - **same schema, in memory**: labyard's schema on the same crate, with nothing behind it \
        (`provider/examples/in_memory.rs`).\n\
        - **labyard**: stopped machines, each with one linked disk and one NIC, on a libvirt host of the run's own.\n",
        Part::ALL.map(Part::name).join(", ")
    )
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

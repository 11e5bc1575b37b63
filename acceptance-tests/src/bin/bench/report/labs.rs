//! Claims, machines that go back, passes and events.

use super::line;
use crate::events::Delivered;
use crate::examples::{Crowd, OnStore, Pass};
use crate::figures::Figures;
use crate::recycle::Recycled;

/// Claims against bare commits.
pub fn claims(stores: &[OnStore]) -> String {
    let mut text = "## A claim of a machine that is free\n\n\
        Milliseconds from the request to the durable answer, in the store alone, for so many claimers at the same \
        moment; beside it as many lines of the log, each in a durable commit of its own, and as many that share their \
        commits with those who wait beside them, as claims do.\n\n\
        | store | claimers | claim p50 | p99 | bare commit p50 | p99 | ratio p50 | p99 | shared line p50 | p99 |\n\
        |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (store, crowd) in all(stores) {
        line(
            &mut text,
            format_args!(
                "| {store} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                crowd.claimers,
                crowd.claim.p50 * 1e3,
                crowd.claim.p99 * 1e3,
                crowd.commit.p50 * 1e3,
                crowd.commit.p99 * 1e3,
                crowd.claim.p50 / crowd.commit.p50,
                crowd.claim.p99 / crowd.commit.p99,
                crowd.line.p50 * 1e3,
                crowd.line.p99 * 1e3,
            ),
        );
    }
    text
}

/// Every crowd, with the name of its store.
pub fn all(stores: &[OnStore]) -> impl Iterator<Item = (&'static str, &Crowd)> {
    stores.iter().flat_map(|on| {
        let name = if on.store == "sqlite" {
            "SQLite"
        } else {
            "PostgreSQL"
        };
        on.crowds.iter().map(move |crowd| (name, crowd))
    })
}

/// Release to free, code to shell.
pub fn recycled(recycled: &Recycled) -> String {
    let Recycled {
        reset,
        recreate,
        running,
        paused,
    } = recycled;
    format!(
        "## A machine goes back\n\n\
        Seconds on libvirt with the tests' guest, of a pool with one machine. From release to free again: the guest is \
        destroyed, then put back to its moment with its clock set, or made anew; whoever comes next has found nothing of \
        who was there before. From code to shell: redeemed, let in by key, first command answered.\n\n\
        | | median |\n|---|---:|\n\
        | release to free, `recycle = \"reset\"` | {:.2} |\n\
        | release to free, `recycle = \"recreate\"` | {:.2} |\n\
        | code to shell, the machine runs | {:.2} |\n\
        | code to shell, the machine is kept paused | {:.2} |\n",
        reset.median(),
        recreate.median(),
        running.median(),
        paused.median(),
    )
}

/// A pass where nothing is to be done.
pub fn pass(pass: &Pass) -> String {
    format!(
        "## A pass where nothing is to be done\n\n\
        {} machines of pools on {} simulated hosts in a process of their own: every host is read anew and compared with \
        the store, every pool is planned, in the environment of the daemon's unit. Median of {}: {:.2} s. The most memory that the process had meanwhile: {:.0} \
        MiB (while it made the machines: {:.0}).\n",
        pass.machines,
        pass.hosts,
        pass.passes.len(),
        median(pass),
        pass.passes_mib,
        pass.making_mib,
    )
}

/// Seconds of a pass.
pub fn median(pass: &Pass) -> f64 {
    let mut figures = Figures::default();
    pass.passes
        .iter()
        .for_each(|seconds| figures.add_number(*seconds));
    figures.median()
}

/// Events to many.
pub fn delivered(delivered: &Delivered) -> String {
    format!(
        "## Events\n\n\
        {} machines of a pool made in {:.0} s by a daemon on SQLite and a simulated host, before {} listeners, each of \
        which got all {} events, in order and once. From the moment that an event says to its delivery: p50 {:.0} ms, \
        p99 {:.0} ms. All listeners at once asked for the whole log from its beginning: the last had it after {:.2} s, \
        {:.0} events a second in all.\n",
        delivered.machines,
        delivered.made,
        delivered.listeners,
        delivered.events,
        delivered.p50 * 1e3,
        delivered.p99 * 1e3,
        delivered.replay,
        (delivered.events * delivered.listeners) as f64 / delivered.replay,
    )
}

//! What others made, and what they put into what is ours.

use super::lab::{Failure, Lab, ensure, ensure_eq};
use super::{Guests, OtherHands, Presence, sample};
use crate::ids::Mib;
use crate::observed::{Cable, MarkState};
use crate::spec::LiveChange;

type Result = std::result::Result<(), Failure>;

fn hands(lab: &Lab<'_>) -> std::result::Result<std::sync::Arc<dyn OtherHands>, Failure> {
    lab.fixture
        .hands()
        .ok_or_else(|| Failure::new("the fixture has no other hands"))
}

pub(super) async fn a_foreign_machine_is_seen_without_a_mark(lab: &Lab<'_>) -> Result {
    let name = lab.fixture.fresh_name("foreign");
    let id = sample::id(&name);
    lab.adopt_machine(&id);
    hands(lab)?.define_machine(&id, &name).await?;
    let seen = lab.driver.machine(&id).await?;
    ensure_eq!(
        (&seen.host_name, &seen.mark),
        (&name, &MarkState::None),
        "name and mark"
    );
    let snapshot = lab.driver.snapshot().await?;
    let seen = snapshot.machines.iter().find(|machine| machine.id == id);
    ensure_eq!(
        seen.map(|machine| &machine.mark),
        Some(&MarkState::None),
        "the mark in the snapshot"
    );
    let marks = lab.driver.marks().await?;
    ensure!(
        marks.iter().all(|(other, _)| *other != id),
        "a foreign machine is among the marks"
    );
    Ok(())
}

pub(super) async fn an_edit_keeps_what_others_put_in(lab: &Lab<'_>) -> Result {
    let disk = lab.disk("disk").await?;
    let mut spec = sample::with_disk(lab.machine("edited"), &lab.pool, &disk);
    lab.define(&mut spec).await?;
    let hands = hands(lab)?;
    hands.put_device(&spec.id).await?;
    ensure_eq!(
        hands.has_device(&spec.id).await?,
        Presence::There,
        "the foreign device at first"
    );
    (spec.cpus, spec.memory) = (2, Mib(160));
    lab.driver.define_machine(&spec).await?;
    lab.driver.write_mark(&spec.id, &spec.mark).await?;
    ensure_eq!(
        hands.has_device(&spec.id).await?,
        Presence::There,
        "the foreign device after the edit"
    );
    ensure_eq!(lab.detail(&spec.id).await?.cpus, 2, "the processors");
    Ok(())
}

pub(super) async fn a_cable_that_was_pulled_out_is_seen_and_put_back(lab: &Lab<'_>) -> Result {
    if matches!(lab.fixture.guests(), Guests::Never) || lab.fixture.free_net().is_none() {
        return Ok(());
    }
    let mut network = lab.network("net")?;
    lab.create(&mut network).await?;
    let mut spec = sample::with_nic(lab.machine("wired"), &network.host_name);
    lab.define(&mut spec).await?;
    lab.driver.start_machine(&spec.id).await?;
    let cable = async || Ok::<_, Failure>(lab.detail(&spec.id).await?.nics.first().map(|nic| nic.cable));
    ensure_eq!(cable().await?, Some(Cable::AsDefined), "the cable at first");
    hands(lab)?.pull_cable(&spec.id, spec.nics[0].mac).await?;
    ensure_eq!(cable().await?, Some(Cable::Out), "the cable that was pulled out");
    let change = LiveChange::MoveNic(spec.nics[0].key.clone());
    for _ in 0..2 {
        lab.driver.change_live(&spec, &change).await?;
        ensure_eq!(cable().await?, Some(Cable::AsDefined), "the cable in the end");
    }
    Ok(())
}

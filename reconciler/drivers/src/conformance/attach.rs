//! A card lent to another network and put back: in what runs and in the definition, kept apart or not as it is said.

use std::time::Duration;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::moments::{fresh_overlays, moment_of, running_with};
use super::sample;
use crate::ids::ObjectId;
use crate::moment::{Footing, Resume};
use crate::observed::{Attachment, Cable, Power};
use crate::spec::{Isolation, NetworkSpec, NicSpec};

type Result<T = ()> = std::result::Result<T, Failure>;

/// How long a guest may take to ask for an address anew.
const PATIENCE: Duration = Duration::from_secs(120);

fn on(nic: &NicSpec, network: &NetworkSpec, isolation: Isolation) -> NicSpec {
    NicSpec {
        attachment: Attachment::Network(network.host_name.clone()),
        isolation,
        ..nic.clone()
    }
}

/// Attaches a card, twice, and looks whether it is where it was asked to be.
async fn attached(lab: &Lab<'_>, id: &ObjectId, nic: &NicSpec, power: Power) -> Result {
    for turn in ["once", "again"] {
        lab.driver.attach_nic(id, nic).await?;
        let detail = lab.detail(id).await?;
        let seen = &detail.nics[0];
        ensure_eq!(
            seen.attachment,
            nic.attachment,
            format!("by its definition, {turn}")
        );
        let live = (power == Power::Running).then(|| nic.attachment.clone());
        ensure_eq!(seen.live_attachment, live, format!("in what runs, {turn}"));
        ensure_eq!(seen.isolation, nic.isolation, format!("whom it reaches, {turn}"));
        ensure_eq!(seen.cable, Cable::AsDefined, format!("its cable, {turn}"));
    }
    Ok(())
}

pub(super) async fn a_card_is_lent_to_another_network_in_what_runs_and_in_the_definition_and_goes_home(
    lab: &Lab<'_>,
) -> Result {
    let (mut home, mut other) = (lab.network("home")?, lab.network("lent")?);
    lab.create(&mut home).await?;
    lab.create(&mut other).await?;
    let mut spec = sample::with_nic(lab.machine("lender"), &home.host_name);
    spec.nics[0].isolation = Isolation::Apart;
    lab.define(&mut spec).await?;
    let there = on(&spec.nics[0], &other, Isolation::Open);
    let back = on(&spec.nics[0], &home, Isolation::Apart);
    for nic in [&there, &back] {
        attached(lab, &spec.id, nic, Power::Stopped).await?;
    }
    lab.driver.start_machine(&spec.id).await?;
    for nic in [&there, &back, &there] {
        attached(lab, &spec.id, nic, Power::Running).await?;
    }
    let stranger = NicSpec {
        mac: sample::mac("stranger"),
        ..back.clone()
    };
    ensure_error!(lab.driver.attach_nic(&spec.id, &stranger).await, Refused);
    let nowhere = NicSpec {
        attachment: Attachment::Network(lab.fixture.fresh_name("nowhere")),
        ..back
    };
    ensure!(
        lab.driver.attach_nic(&spec.id, &nowhere).await.is_err(),
        "attached to a network that is not there"
    );
    Ok(())
}

pub(super) async fn a_guest_whose_card_is_lent_asks_for_an_address_there(lab: &Lab<'_>) -> Result {
    let (mut home, mut other) = (lab.network("home")?, lab.network("lent")?);
    lab.create(&mut home).await?;
    lab.create(&mut other).await?;
    let spec = running_with(lab, |spec| {
        let mut spec = sample::with_nic(spec, &home.host_name);
        spec.nics[0].isolation = Isolation::Apart;
        spec
    })
    .await?;
    let mac = spec.nics[0].mac;
    let has_address = async |network: &NetworkSpec| {
        let leases = lab.driver.leases(&network.id).await?;
        Ok(leases.iter().any(|lease| lease.mac == mac))
    };
    // A guest that still asks when its memory is kept would ask on in the other network without having seen its cable.
    let at_home = async || has_address(&home).await;
    lab.until("the guest has an address at home", PATIENCE, at_home)
        .await?;
    let moment = moment_of(lab, &spec);
    lab.driver.set_footing(&moment, Footing::Overlays).await?;
    lab.driver.save_memory(&moment).await?;
    fresh_overlays(lab, &moment).await?;
    lab.driver.return_to(&moment, Resume::Running).await?;
    let there = on(&spec.nics[0], &other, Isolation::Open);
    attached(lab, &spec.id, &there, Power::Running).await?;
    let lent = async || has_address(&other).await;
    lab.until("the guest has an address where its card is", PATIENCE, lent)
        .await?;
    lab.driver.power_off(&spec.id).await?;
    lab.until_power(&spec.id, Power::Stopped).await?;
    fresh_overlays(lab, &moment).await?;
    lab.driver.return_to(&moment, Resume::Running).await?;
    let detail = lab.detail(&spec.id).await?;
    let seen = &detail.nics[0];
    ensure_eq!(
        (&seen.attachment, seen.isolation),
        (&spec.nics[0].attachment, Isolation::Apart),
        "where its moment has it"
    );
    ensure_eq!(
        seen.live_attachment.as_ref(),
        Some(&spec.nics[0].attachment),
        "where it is in what runs"
    );
    Ok(())
}

//! Screens before machines: whom they let in, and that they stay.

use std::collections::BTreeSet;

use super::lab::{Failure, Lab, ensure, ensure_eq, ensure_error};
use super::moments::{fresh_overlays, moment_of, running_with};
use super::sample;
use crate::DriverError;
use crate::moment::{Footing, Resume};
use crate::screen::{Callers, Screen};
use crate::spec::{Isolation, MachineSpec};

type Result<T = ()> = std::result::Result<T, Failure>;

fn callers(addresses: &[&str]) -> Callers {
    Callers::only(addresses.iter().filter_map(|address| address.parse().ok()))
}

/// Those that a screen is told one after another.
fn in_turn() -> [Callers; 6] {
    [
        Callers::nobody(),
        callers(&["192.0.2.7"]),
        callers(&["192.0.2.8", "2001:db8::8"]),
        callers(&["2001:db8::8"]),
        Callers::Anybody,
        Callers::nobody(),
    ]
}

/// Whether the host has screens at all; where it has none it says so, and nothing is changed.
async fn has_screens(lab: &Lab<'_>, screen: &Screen) -> Result<bool> {
    match lab.driver.screen_machine(screen, &Callers::nobody()).await {
        Ok(()) => Ok(true),
        Err(DriverError::Unsupported { .. }) => {
            lab.driver.remove_screen(screen).await?;
            ensure_eq!(lab.driver.screened(screen).await?, None, "the screen");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// A machine with a card on a network that runs.
async fn with_a_card(lab: &Lab<'_>, hint: &str) -> Result<MachineSpec> {
    let mut network = lab.network(hint)?;
    lab.create(&mut network).await?;
    let mut spec = sample::with_nic(lab.machine(hint), &network.host_name);
    lab.define(&mut spec).await?;
    Ok(spec)
}

pub(super) async fn a_screen_lets_in_whom_it_is_told_and_says_so(lab: &Lab<'_>) -> Result {
    let spec = with_a_card(lab, "screened").await?;
    let screen = lab.screen(&spec);
    ensure_eq!(lab.driver.screened(&screen).await?, None, "before there is one");
    if !has_screens(lab, &screen).await? {
        return Ok(());
    }
    for wanted in in_turn() {
        for _ in 0..2 {
            lab.driver.screen_machine(&screen, &wanted).await?;
            ensure_eq!(
                lab.driver.screened(&screen).await?,
                Some(wanted.clone()),
                "whom it lets in"
            );
        }
    }
    let gone = Screen {
        of: sample::id(&lab.fixture.fresh_name("gone")),
        nics: BTreeSet::new(),
        ..screen.clone()
    };
    ensure_error!(lab.driver.screened(&gone).await, Missing);
    ensure_error!(lab.driver.screen_machine(&gone, &Callers::Anybody).await, Missing);
    lab.driver.remove_machine(&spec.id).await?;
    for _ in 0..2 {
        lab.driver.remove_screen(&screen).await?;
    }
    Ok(())
}

pub(super) async fn a_screen_goes_when_its_machine_does_not_run_and_not_before(lab: &Lab<'_>) -> Result {
    let spec = with_a_card(lab, "behind").await?;
    let screen = lab.screen(&spec);
    if !has_screens(lab, &screen).await? {
        return Ok(());
    }
    lab.driver.start_machine(&spec.id).await?;
    ensure_error!(lab.driver.remove_screen(&screen).await, Refused);
    ensure_eq!(
        lab.driver.screened(&screen).await?,
        Some(Callers::nobody()),
        "what was refused to go"
    );
    lab.driver.power_off(&spec.id).await?;
    lab.driver.remove_screen(&screen).await?;
    ensure_eq!(lab.driver.screened(&screen).await?, None, "what went");
    // Nothing is let in by what is not there: it does not start.
    ensure_error!(lab.driver.start_machine(&spec.id).await, Refused);
    Ok(())
}

pub(super) async fn the_name_of_another_machines_screen_is_taken(lab: &Lab<'_>) -> Result {
    let (one, other) = (with_a_card(lab, "one").await?, lab.defined("other").await?);
    let screen = lab.screen(&one);
    let same_name = Screen {
        name: screen.name.clone(),
        ..lab.screen(&other)
    };
    if !has_screens(lab, &screen).await? {
        return Ok(());
    }
    ensure_error!(
        lab.driver.screen_machine(&same_name, &Callers::Anybody).await,
        Exists
    );
    ensure_eq!(lab.driver.screened(&same_name).await?, None, "another's screen");
    lab.driver.remove_screen(&same_name).await?;
    ensure_eq!(
        lab.driver.screened(&screen).await?,
        Some(Callers::nobody()),
        "the screen that was there"
    );
    // Nor is a card taken from behind another screen.
    let second = lab.screen(&one);
    ensure_error!(
        lab.driver.screen_machine(&second, &Callers::Anybody).await,
        Refused
    );
    Ok(())
}

pub(super) async fn what_is_changed_of_a_machine_leaves_its_screen(lab: &Lab<'_>) -> Result {
    let mut spec = with_a_card(lab, "changed").await?;
    let screen = lab.screen(&spec);
    if !has_screens(lab, &screen).await? {
        return Ok(());
    }
    let wanted = callers(&["192.0.2.7"]);
    lab.driver.screen_machine(&screen, &wanted).await?;
    spec.cpus += 1;
    spec.nics[0].isolation = Isolation::Apart;
    lab.driver.define_machine(&spec).await?;
    ensure_eq!(
        lab.driver.screened(&screen).await?,
        Some(wanted),
        "the screen of a machine that was changed"
    );
    Ok(())
}

pub(super) async fn a_screen_is_told_while_its_machine_runs_and_outlives_its_moment(lab: &Lab<'_>) -> Result {
    let mut network = lab.network("seen")?;
    lab.create(&mut network).await?;
    let spec = running_with(lab, |spec| sample::with_nic(spec, &network.host_name)).await?;
    let screen = lab.screen(&spec);
    if !has_screens(lab, &screen).await? {
        return Ok(());
    }
    for wanted in in_turn() {
        lab.driver.screen_machine(&screen, &wanted).await?;
        let seen = lab.driver.screened(&screen).await?;
        ensure_eq!(seen, Some(wanted), "whom it lets in");
    }
    let moment = moment_of(lab, &spec);
    lab.driver.set_footing(&moment, Footing::Overlays).await?;
    lab.driver.save_memory(&moment).await?;
    // What it lets in is the screen's, not the moment's.
    let since = callers(&["192.0.2.9"]);
    lab.driver.screen_machine(&screen, &since).await?;
    fresh_overlays(lab, &moment).await?;
    lab.driver.return_to(&moment, Resume::Running).await?;
    ensure_eq!(
        lab.driver.screened(&screen).await?,
        Some(since),
        "whom it lets in after going back"
    );
    Ok(())
}

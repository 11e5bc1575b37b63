//! Cards lent to the networks of claims, through the engine: recorded first, home after each departure and each reset;
//! networks that somebody is on stay.

use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::ids::{HostName, NicKey};
use labyard_driver::observed::{Attachment, Detail, ObservedNic};
use labyard_driver::screen::Callers;
use labyard_driver::spec::Isolation;
use labyard_driver_sim::{Edge, Fault, FaultKind, Settings};
use labyard_reconciler::engine::{
    Admission, Bounds, ClaimNetwork, Departure, Engine, Removal, StandingNetwork,
};
use tokio::time::timeout;

use crate::moments::{Lab, learner, of_a_pool};
use crate::rig::bounds;

/// Long enough for everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);

fn host(lab: &Lab) -> HostName {
    lab.object().host
}

fn of_claim(claim: &str, subnet: &str) -> ClaimNetwork {
    ClaimNetwork {
        namespace: "default".into(),
        claim: claim.to_owned(),
        subnet: subnet.parse().unwrap(),
    }
}

impl Lab {
    fn card(&self) -> ObservedNic {
        let machine = self.sim.look().machines.remove(0);
        match machine.detail {
            Detail::Known(detail) => detail.nics[0].clone(),
            Detail::Unknown(why) => panic!("{why}"),
        }
    }

    fn key(&self) -> NicKey {
        let machine = self.sim.look().machines.remove(0);
        machine.mark.ours().unwrap().nics.keys().next().unwrap().clone()
    }

    async fn make(&self, network: &ClaimNetwork) -> StandingNetwork {
        let engine = &self.rig.engine;
        engine
            .make_claim_network(&host(self), network, bounds())
            .await
            .unwrap()
    }

    async fn lend(&self, network: &StandingNetwork) -> usize {
        let engine = &self.rig.engine;
        let lent = engine
            .lend_nic(&self.object(), &self.key(), network, bounds())
            .await;
        lent.unwrap().len()
    }

    async fn remove(&self, claim: &str) -> Removal {
        let engine = &self.rig.engine;
        let removed = engine.remove_claim_network(&host(self), claim, bounds()).await;
        removed.unwrap()
    }

    fn assert_on(&self, network: &str) {
        let card = self.card();
        let wanted = Attachment::Network(network.to_owned());
        assert_eq!(
            (&card.attachment, card.live_attachment.as_ref()),
            (&wanted, Some(&wanted))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_lent_card_goes_home_with_each_departure_and_with_each_reset() {
    let lab = Lab::new().await;
    lab.keep().await;
    let home = lab.card();
    let network = lab.make(&of_claim("one", "10.78.0.0/28")).await;
    for way in ["untouched", "reset"] {
        assert_eq!(lab.lend(&network).await, 1);
        assert_eq!(lab.lend(&network).await, 1, "the same again is success");
        lab.assert_on(&network.host_name);
        let lent = lab.mark().await.lent.unwrap();
        assert_eq!(
            (lent.home, lent.isolation),
            (home.attachment.clone(), home.isolation)
        );
        assert_eq!(lab.remove("one").await, Removal::Used(vec!["web".to_owned()]));
        match way {
            "reset" => lab.reset().await.unwrap(),
            _ => {
                let engine = &lab.rig.engine;
                let dismissed = engine
                    .dismiss(&lab.object(), Departure::Untouched, bounds())
                    .await;
                dismissed.unwrap();
            }
        }
        let back = lab.card();
        assert_eq!(
            (&back.attachment, &back.live_attachment, back.isolation),
            (&home.attachment, &home.live_attachment, home.isolation),
            "{way}"
        );
        assert_eq!(lab.mark().await.lent, None, "{way}");
    }
    for _ in 0..2 {
        assert_eq!(lab.remove("one").await, Removal::Gone);
    }
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn a_lent_card_stands_behind_no_screen_and_behind_its_own_again_at_home() {
    let lab = Lab::new().await;
    let engine = &lab.rig.engine;
    engine
        .screen_machine(&lab.object(), &Callers::nobody(), bounds())
        .await
        .unwrap();
    let ada = "192.0.2.7".parse().unwrap();
    let network = lab.make(&of_claim("one", "10.78.0.0/28")).await;
    lab.lend(&network).await;
    let id = lab.identity.id.clone();
    assert!(
        lab.sim.lets_in(&id, ada),
        "its only card is among its claim's alone"
    );
    let admission = Admission {
        callers: Callers::only([ada]),
        ..learner()
    };
    engine.admit(&lab.object(), &admission, bounds()).await.unwrap();
    assert!(!engine.renew_screen(&lab.object()).await.unwrap());
    engine
        .dismiss(&lab.object(), Departure::Used, bounds())
        .await
        .unwrap();
    assert!(!lab.sim.lets_in(&id, ada));
    assert_eq!(lab.mark().await.callers, Some(Callers::nobody()));
    assert_eq!(lab.remove("one").await, Removal::Gone);
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn networks_of_claims_are_found_by_their_marks_and_no_others() {
    let lab = Lab::new().await;
    let before = lab.sim.look().networks.len();
    let one = lab.make(&of_claim("one", "10.78.0.0/28")).await;
    let two = lab.make(&of_claim("two", "10.78.0.16/28")).await;
    let engine = &lab.rig.engine;
    let mut found = engine.members(&host(&lab)).await.unwrap().networks;
    found.sort_by(|a, b| a.claim.cmp(&b.claim));
    assert_eq!(found, [one, two]);
    // No two networks of a host have the same addresses.
    let same = engine
        .make_claim_network(&host(&lab), &of_claim("three", "10.78.0.0/28"), bounds())
        .await;
    assert!(same.is_err(), "{same:?}");
    for claim in ["one", "two", "three"] {
        assert_eq!(lab.remove(claim).await, Removal::Gone);
    }
    assert_eq!(lab.sim.look().networks.len(), before);
    lab.destroy().await;
}

/// Killed at any change of the host on the way to a claim's network, and on the way back.
#[tokio::test(start_paused = true)]
async fn killed_anywhere_a_card_comes_to_where_it_is_asked_to_be() {
    for back in [false, true] {
        for edge in [Edge::Before, Edge::After] {
            let mut died = 0;
            for nth in 1.. {
                let mut lab = Lab::with(Settings::default(), &of_a_pool()).await;
                let home = lab.card();
                let network = lab.make(&of_claim("one", "10.78.0.0/28")).await;
                if back {
                    lab.lend(&network).await;
                }
                lab.sim.order(Fault::mutation(nth, FaultKind::CrashCaller(edge)));
                let go = async |lab: &Lab| match back {
                    false => drop(lab.lend(&network).await),
                    true => {
                        let engine = &lab.rig.engine;
                        let gone = engine
                            .dismiss(&lab.object(), Departure::Untouched, bounds())
                            .await;
                        gone.unwrap();
                    }
                };
                let killed = tokio::select! {
                    done = timeout(PATIENCE, go(&lab)) => { done.unwrap(); false }
                    () = lab.sim.caller_crashed() => true,
                };
                lab.sim.clear_faults();
                if killed {
                    died += 1;
                    lab.next_process();
                    timeout(PATIENCE, go(&lab)).await.unwrap();
                }
                let card = lab.card();
                match back {
                    false => {
                        lab.assert_on(&network.host_name);
                        assert_eq!(card.isolation, Isolation::Open);
                        assert_eq!(lab.mark().await.lent.unwrap().home, home.attachment);
                    }
                    true => {
                        assert_eq!(card.live_attachment, home.live_attachment);
                        assert_eq!((card.attachment, lab.mark().await.lent), (home.attachment, None));
                    }
                }
                if !killed {
                    break;
                }
            }
            assert!(died >= 2, "{died}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_asks_for_no_address_is_said_so() {
    let lab = Lab::new().await;
    let network = lab.make(&of_claim("one", "10.78.0.0/28")).await;
    lab.sim.set_guests(labyard_driver_sim::GuestSettings {
        fault: labyard_driver_sim::GuestFault::NoAddress,
        ..Settings::default().guest
    });
    let id = lab.identity.id.clone();
    let driver = labyard_driver_sim::SimDriver::in_memory(&lab.sim);
    driver.power_off(&id).await.unwrap();
    driver.start_machine(&id).await.unwrap();
    let soon = Bounds {
        limit: Duration::from_secs(20),
        ..bounds()
    };
    let lent = lab
        .rig
        .engine
        .lend_nic(&lab.object(), &lab.key(), &network, soon)
        .await;
    let why = lent.unwrap_err().to_string();
    assert!(
        why.contains("did not ask for an address there within 18 s"),
        "{why}"
    );
}

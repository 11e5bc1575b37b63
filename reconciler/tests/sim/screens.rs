//! Screens before machines, through the engine: recorded first, closed with each departure, there after each reset, gone
//! with the machine; killed anywhere they come to what was asked for.

use std::net::IpAddr;
use std::time::Duration;

use labyard_driver::Driver;
use labyard_driver::screen::{Callers, Screen};
use labyard_driver_sim::{Edge, Failure, Fault, FaultKind, ForeignHand, SimDriver};
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::{Admission, Departure, Engine};
use tokio::time::timeout;

use crate::moments::{Lab, learner};
use crate::rig::bounds;

/// Long enough for everything that is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);

fn ada() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn ben() -> IpAddr {
    "2001:db8::8".parse().unwrap()
}

fn from(address: IpAddr) -> Admission {
    Admission {
        callers: Callers::only([address]),
        ..learner()
    }
}

impl Lab {
    /// From which of the two addresses it is reached.
    fn reached(&self) -> [bool; 2] {
        [ada(), ben()].map(|from| self.sim.lets_in(&self.identity.id, from))
    }

    async fn screen(&self, callers: Callers) -> Result<(), EngineError> {
        let engine = &self.rig.engine;
        engine.screen_machine(&self.object(), &callers, bounds()).await
    }

    async fn admit(&self, admission: &Admission) -> Result<(), EngineError> {
        self.rig.engine.admit(&self.object(), admission, bounds()).await
    }

    async fn dismiss(&self, departure: Departure) -> Result<(), EngineError> {
        self.rig.engine.dismiss(&self.object(), departure, bounds()).await
    }

    async fn renew(&self) -> bool {
        self.rig.engine.renew_screen(&self.object()).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_open_to_anybody_has_no_screen() {
    let lab = Lab::new().await;
    lab.screen(Callers::Anybody).await.unwrap();
    lab.admit(&learner()).await.unwrap();
    assert_eq!(lab.mark().await.callers, None);
    assert!(lab.sim.screens().is_empty() && !lab.renew().await);
    assert_eq!(lab.reached(), [true, true]);
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn a_screen_opens_with_each_user_closes_behind_him_and_goes_with_its_machine() {
    let lab = Lab::new().await;
    lab.screen(Callers::nobody()).await.unwrap();
    assert_eq!(lab.reached(), [false, false]);
    for (user, expected) in [(ada(), [true, false]), (ben(), [false, true])] {
        for _ in 0..2 {
            lab.admit(&from(user)).await.unwrap();
            assert_eq!(lab.reached(), expected);
        }
        assert_eq!(lab.mark().await.callers, Some(Callers::only([user])));
        lab.dismiss(Departure::Untouched).await.unwrap();
        assert_eq!(lab.reached(), [false, false]);
        assert_eq!(lab.mark().await.callers, Some(Callers::nobody()));
    }
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_is_put_back_is_closed_whether_its_moment_knows_the_screen_or_not() {
    for first in [true, false] {
        let lab = Lab::new().await;
        if first {
            lab.screen(Callers::nobody()).await.unwrap();
        }
        lab.keep().await;
        for _ in 0..2 {
            lab.admit(&from(ada())).await.unwrap();
            assert_eq!(lab.reached(), [true, false]);
            lab.reset().await.unwrap();
            assert_eq!(lab.reached(), [false, false], "known to its moment: {first}");
            assert!(!lab.renew().await, "there is nothing to put right");
        }
        lab.destroy().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_hand_did_to_a_screen_is_put_right() {
    let lab = Lab::new().await;
    lab.screen(Callers::only([ada()])).await.unwrap();
    assert!(!lab.renew().await);
    let from_behind = ForeignHand::TakeFromBehindScreen(lab.identity.id.clone());
    lab.sim.by_other_hand(&from_behind).unwrap();
    assert_eq!(lab.reached(), [true, true]);
    assert!(lab.renew().await);
    assert_eq!(lab.reached(), [true, false]);
    let screen = Screen {
        of: lab.identity.id.clone(),
        name: lab.sim.screens().remove(0),
        nics: Default::default(),
    };
    let hand = SimDriver::in_memory(&lab.sim);
    hand.screen_machine(&screen, &Callers::Anybody).await.unwrap();
    assert!(lab.renew().await && !lab.renew().await);
    assert_eq!(lab.reached(), [true, false]);
    lab.destroy().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_screen_is_lost_while_it_is_off_is_put_back_behind_it() {
    let lab = Lab::new().await;
    lab.screen(Callers::nobody()).await.unwrap();
    lab.keep().await;
    lab.sim
        .by_other_hand(&ForeignHand::Kill(lab.identity.id.clone()))
        .unwrap();
    let screen = Screen {
        of: lab.identity.id.clone(),
        name: lab.sim.screens().remove(0),
        nics: Default::default(),
    };
    let hand = SimDriver::in_memory(&lab.sim);
    hand.remove_screen(&screen).await.unwrap();
    lab.reset().await.unwrap();
    assert_eq!(lab.reached(), [false, false]);
    lab.destroy().await;
}

/// Something that is done to a machine with a screen, and may be done again.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Close,
    Admit,
    Dismiss,
    Reset,
}

impl Deed {
    async fn prepare(self, lab: &Lab) {
        if let Self::Reset = self {
            lab.keep().await;
        }
        if let Self::Dismiss | Self::Reset = self {
            lab.admit(&from(ada())).await.unwrap();
        }
        lab.sim.clear_operations();
    }

    async fn run(self, lab: &Lab) -> Result<(), EngineError> {
        match self {
            Self::Close => lab.screen(Callers::nobody()).await,
            Self::Admit => lab.admit(&from(ada())).await,
            Self::Dismiss => lab.dismiss(Departure::Untouched).await,
            Self::Reset => lab.reset().await,
        }
    }

    fn reached(self) -> [bool; 2] {
        match self {
            Self::Admit => [true, false],
            _ => [false, false],
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_or_refused_at_any_mutation_the_next_call_brings_the_screen_to_what_was_asked_for() {
    for deed in [Deed::Close, Deed::Admit, Deed::Dismiss, Deed::Reset] {
        let lab = Lab::new().await;
        deed.prepare(&lab).await;
        deed.run(&lab).await.unwrap();
        let all = lab.sim.mutations() as u64;
        for nth in 1..=all {
            for kind in [
                FaultKind::CrashCaller(Edge::Before),
                FaultKind::CrashCaller(Edge::After),
                FaultKind::LoseReply,
                FaultKind::Duplicate,
                FaultKind::Fail(Edge::Before, Failure::Refused),
            ] {
                let mut lab = Lab::new().await;
                deed.prepare(&lab).await;
                lab.sim.order(Fault::mutation(nth, kind.clone()));
                // Whatever comes of it.
                drop(timeout(PATIENCE, deed.run(&lab)).await);
                lab.sim.clear_faults();
                lab.next_process();
                let finished = deed.run(&lab).await;
                finished.unwrap_or_else(|error| panic!("{deed:?}, {kind:?} at {nth}: {error}"));
                assert_eq!(lab.reached(), deed.reached(), "{deed:?}, {kind:?} at {nth}");
                lab.next_process();
                lab.destroy().await;
            }
        }
    }
}

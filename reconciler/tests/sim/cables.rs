//! A running machine's cable that was pulled out is drift, and is put back while the machine runs.

use labyard_driver_sim::{ForeignHand, Settings, SimHost, Verb};
use labyard_reconciler::diff::{Disturbance, gravest, machine::diff};
use labyard_reconciler::engine::{Engine, Reading};
use labyard_reconciler::view::MachineView;

use crate::rig::{Rig, Table, config, wish};

#[tokio::test(start_paused = true)]
async fn a_cable_that_was_pulled_out_is_seen_and_put_back_live() {
    let sim = SimHost::new(Settings::default());
    let rig = Rig::start(&sim, &Table::default());
    rig.network().await.unwrap();
    let wish = wish(&config("web"));
    let (made, identity) = rig.create(&wish).await;
    made.unwrap();
    let identity = identity.unwrap();
    let (id, mac) = (identity.id.clone(), wish.nics[&"lan".into()].mac);
    sim.by_other_hand(&ForeignHand::PullCable { id, mac }).unwrap();
    sim.clear_operations();

    let object = rig.object(&wish, Some(&identity));
    let view = async || -> MachineView {
        match rig.engine.read_machine(&object).await.unwrap() {
            Reading::Present(view) => *view,
            other => panic!("{other:?}"),
        }
    };
    let pulled = view().await;
    assert_eq!(pulled.nics[&"lan".into()].network, "unplugged from lab");
    assert_eq!(gravest(&diff(&wish, &pulled)), Some(Disturbance::Live));
    rig.update(&identity, &wish, &wish).await.unwrap();
    assert_eq!(diff(&wish, &view().await), []);
    assert_eq!(
        (sim.count(Verb::ChangeLive), sim.count(Verb::StartMachine)),
        (1, 0)
    );
}

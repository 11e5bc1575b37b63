//! Disks that others put into machines of labyard's on the simulated host.

use labyard_driver_sim::{ForeignHand, Settings, SimHost};
use labyard_reconciler::diff::machine::diff;
use labyard_reconciler::engine::{Engine, Reading};

use crate::rig::{Rig, Table, config, wish};

#[tokio::test(start_paused = true)]
async fn a_file_outside_of_the_pools_that_somebody_attached_is_left_alone_and_no_difference() {
    let (sim, table) = (SimHost::new(Settings::default()), Table::default());
    let rig = Rig::start(&sim, &table);
    rig.network().await.unwrap();
    let mut config = config("web");
    config.power = "stopped".into();
    let wish = wish(&config);
    let (made, identity) = rig.create(&wish).await;
    let identity = identity.unwrap();
    let attach = ForeignHand::AttachDisk {
        id: made.unwrap().id,
        target: "vdz".to_owned(),
        path: "/srv/theirs.qcow2".to_owned(),
    };
    sim.by_other_hand(&attach).unwrap();
    rig.end().await;

    let rig = Rig::start(&sim, &table);
    let object = rig.object(&wish, Some(&identity));
    let Reading::Present(view) = rig.engine.read_machine(&object).await.unwrap() else {
        panic!("it is gone");
    };
    let theirs = diff(&wish, &view)
        .into_iter()
        .find(|change| change.to_string().contains("vdz"));
    assert!(theirs.is_none(), "{theirs:?}");
    rig.update(&identity, &wish, &wish).await.unwrap();
    let seen = sim.look();
    let disks = &seen.machines[0].detail.known().unwrap().disks;
    assert!(disks.iter().any(|disk| disk.target == "vdz"), "{disks:?}");
}

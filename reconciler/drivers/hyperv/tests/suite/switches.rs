//! Switches.

use labyard_driver::DriverError;
use labyard_driver::conformance::sample;
use labyard_driver::mark::{Kind, Stage};
use labyard_driver_hyperv::switches::Reach;
use labyard_hyperv_double::wire::{Rule, Trouble};

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_carries_its_mark_and_goes() {
    let rig = Rig::new().await;
    for (name, reach) in [("alone", Reach::Machines), ("with the host", Reach::Host)] {
        let mut mark = sample::mark(Kind::Network, name);
        let made = rig.host.create_switch(name, &mark, reach).await.unwrap();
        assert_eq!(made.host_name, name);
        assert_eq!(made.mark.ours(), Some(&mark));
        let taken = rig.host.create_switch(name, &mark, reach).await;
        assert!(matches!(taken, Err(DriverError::Exists { .. })), "{taken:?}");
        mark.stage = Stage::Finished;
        rig.host.write_network_mark(&made.id, &mark).await.unwrap();
        assert_eq!(rig.host.network(&made.id).await.unwrap().mark.ours(), Some(&mark));
        for _ in 0..2 {
            rig.host.remove_network(&made.id).await.unwrap();
        }
        let gone = rig.host.network(&made.id).await;
        assert!(matches!(gone, Err(DriverError::Missing { .. })), "{gone:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_answer_was_lost_is_found_by_its_token() {
    let rig = Rig::new().await;
    rig.server
        .fault(Rule::first("Invoke", Some("DefineSystem"), Trouble::DropAfter));
    let mark = sample::mark(Kind::Network, "lost");
    let made = rig
        .host
        .create_switch("lost", &mark, Reach::Machines)
        .await
        .unwrap();
    assert_eq!(made.mark.ours(), Some(&mark));
    assert_eq!(rig.host.networks().await.unwrap().len(), 1);
}

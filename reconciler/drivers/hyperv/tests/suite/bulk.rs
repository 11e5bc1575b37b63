//! A host read in bulk.

use labyard_driver::DriverError;

use crate::rig::{Rig, machine};

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_enumerations_does_not_depend_on_how_many_machines_there_are() {
    let rig = Rig::new().await;
    let mut counts = Vec::new();
    for upto in [1, 12] {
        for number in rig.host.look().await.unwrap().machines.len()..upto {
            rig.host
                .record_machine(&machine(&format!("m{number}")))
                .await
                .unwrap();
        }
        rig.server.forget_log();
        let seen = rig.host.look().await.unwrap();
        assert_eq!(seen.machines.len(), upto);
        counts.push(rig.server.count("Enumerate"));
        assert_eq!(rig.server.count("Invoke"), 0, "machines without disks");
    }
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0] <= 20, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_see_hyper_v_is_told_so_and_never_that_all_is_gone() {
    let rig = Rig::new().await;
    rig.host.record_machine(&machine("web-01")).await.unwrap();
    rig.model.set_rights(labyard_hyperv_double::model::Rights::Remote);
    let seen = rig.host.look().await;
    let Err(DriverError::Refused { message, .. }) = seen else {
        panic!("{seen:?}");
    };
    assert!(message.contains("Hyper-V Administrators"), "{message}");
}

//! Readiness is what the guest of now shows, not what is left of the one before.

use std::time::Duration;

use labyard_driver_sim::{GuestFault, GuestSettings, Settings, SimHost};
use tokio::time::Instant;

use crate::rig::{Rig, Table, config, wish};

#[tokio::test(start_paused = true)]
async fn a_restarted_machine_is_not_ready_by_the_lease_of_its_run_before() {
    let boot = Duration::from_secs(120);
    let guest = GuestSettings {
        boot,
        ..GuestSettings::default()
    };
    let sim = SimHost::new(Settings {
        guest,
        ..Settings::default()
    });
    let rig = Rig::start(&sim, &Table::default());
    rig.network().await.unwrap();
    let before = wish(&config("web"));
    let (made, identity) = rig.create(&before).await;
    made.unwrap();

    let mut larger = config("web");
    larger.memory_mib *= 2;
    let begun = Instant::now();
    rig.update(&identity.unwrap(), &before, &wish(&larger))
        .await
        .unwrap();
    assert!(begun.elapsed() >= boot, "ready after {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_guest_whose_agent_answers_is_not_waited_for_long_where_it_has_no_address() {
    let sim = SimHost::new(Settings {
        guest: GuestSettings {
            fault: GuestFault::NoAddress,
            ..GuestSettings::default()
        },
        ..Settings::default()
    });
    let rig = Rig::start(&sim, &Table::default());
    rig.network().await.unwrap();
    let mut web = config("web");
    web.ready.get_or_insert_default().wait = "agent".into();
    let begun = Instant::now();
    let (made, _) = rig.create(&wish(&web)).await;
    made.unwrap();
    let took = begun.elapsed().as_secs();
    assert!((10..20).contains(&took), "ready after {took} s");
}

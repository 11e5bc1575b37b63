//! The simulated host passes the suite that every driver must pass.

mod common;

use std::time::Duration;

use common::SimFixture;
use labyard_driver::conformance;
use labyard_driver::ids::{Bytes, PoolName};
use labyard_driver::observed::PoolKind;
use labyard_driver_sim::{Ids, Latency, PoolSettings, Settings, SimDriver, SimHost};

fn fixture(mut settings: Settings) -> SimFixture {
    let other = PoolSettings {
        capacity: Bytes::from_gib(1),
        kind: PoolKind::Directory,
    };
    settings.other_pools.insert(PoolName::from("fast"), other);
    let host = SimHost::new(settings);
    let mut fixture = SimFixture::new(SimDriver::in_memory(&host));
    fixture.host = Some(host);
    fixture.other_pool = Some(PoolName::from("fast"));
    fixture
}

#[tokio::test(start_paused = true)]
async fn the_simulated_host_does_what_every_driver_must() {
    let fixture = fixture(Settings::default());
    let report = conformance::run(&fixture, "").await;
    println!("{report}");
    report.assert_passed();
    let skipped: Vec<_> = report.skipped().map(|ran| ran.name).collect();
    assert_eq!(skipped, ["uploads::an_upload_without_room_leaves_nothing"]);
    let left = fixture.host.unwrap().look();
    let left = (left.machines.len(), left.networks.len(), left.volumes.len());
    assert_eq!(left, (0, 0, 0), "the suite left something behind");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_chooses_ids_does_it_too() {
    let settings = Settings {
        ids: Ids::ByHost,
        ..Settings::default()
    };
    let mut fixture = fixture(settings);
    fixture.ids = conformance::Ids::ByHost;
    let report = conformance::run(&fixture, "").await;
    report.assert_passed();
    let left = fixture.host.unwrap().look();
    let left = (left.machines.len(), left.networks.len(), left.volumes.len());
    assert_eq!(left, (0, 0, 0), "the suite left something behind");
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_does_it_too() {
    let settings = Settings {
        latency: Latency {
            least: Duration::from_millis(1),
            most: Duration::from_millis(80),
        },
        ..Settings::default()
    };
    let report = conformance::run(&fixture(settings), "").await;
    report.assert_passed();
}

#[tokio::test(start_paused = true)]
async fn a_small_pool_runs_out_of_room() {
    let settings = Settings {
        pool_capacity: Bytes::from_mib(8),
        ..Settings::default()
    };
    let mut fixture = fixture(settings);
    fixture.small_pool = Some(PoolName::from("default"));
    let report = conformance::run(&fixture, "without_room").await;
    report.assert_passed();
}

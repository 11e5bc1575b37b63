//! Pools that follow captured images: the newest revision rolls them, a pinned one does not (invariant 23).

use crate::rig::{Crew, Lab, bounds, namespace, spec, template};
use labyard_driver::ids::HostName;
use labyard_foreman::Standing;
use labyard_labs::{
    Refusal,
    ids::PoolName,
    member::State,
    plan::ATTEMPTS,
    pool::{self, Spec},
};
use labyard_reconciler::{
    desired::DesiredMachine,
    engine::{Capture, Engine, HostImage, ObjectRef, WhileRunning},
};
use labyard_schema::vm;
use labyard_store::{on_both, testing::Database};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

on_both!(
    a_pool_rolls_to_the_newest_revision_of_its_image_and_stays_with_a_pinned_one,
    a_silent_host_rolls_no_pool_back_and_an_image_that_was_forgotten_does,
    who_settles_one_pool_leaves_the_images_of_others_alone,
    an_image_that_no_host_has_is_waited_for_and_leaves_nothing_on_any,
);

/// Makes a stopped machine with a disk of that size, and captures it.
async fn captured(crew: &Crew, name: &str, size_gib: u64) -> HostImage {
    captured_on(crew, "lab1", name, size_gib).await
}

async fn captured_on(crew: &Crew, host: &str, name: &str, size_gib: u64) -> HostImage {
    let host = HostName::from(host);
    let blank = vm::Disk {
        size_gib: Some(size_gib),
        ..vm::Disk::default()
    };
    let config = vm::Vm {
        name: name.into(),
        cpus: 1,
        memory_mib: 64,
        disks: Some([("root".to_owned(), blank)].into()),
        power: "stopped".into(),
        ..vm::Vm::default()
    };
    let wish =
        DesiredMachine::from_config(&"default".into(), &config, &BTreeMap::new(), &BTreeMap::new()).unwrap();
    let made = crew
        .engine
        .create_machine(&host, &wish, bounds(), &|_| {})
        .await
        .unwrap();
    let identity = made.identity().unwrap().clone();
    let object = ObjectRef {
        host: host.clone(),
        namespace: "default".into(),
        name: name.into(),
        id: Some(identity.id.clone()),
        identity: Some(identity),
        pools: Default::default(),
    };
    let capture = Capture {
        disk: None,
        name: "golden".parse().unwrap(),
        running: WhileRunning::default(),
    };
    let captured = crew
        .engine
        .capture_machine(&object, &capture, bounds(), &|_| {})
        .await
        .unwrap();
    crew.engine
        .destroy_machine(&object, &wish, bounds())
        .await
        .unwrap();
    captured.image
}

fn of(image: &str) -> Spec {
    let mut template = template();
    template["disks"] = json!({"root": {"image": {"source": image}, "bus": "virtio"}});
    Spec {
        template,
        ..spec(2, 3)
    }
}

async fn settle(crew: &Crew) -> Standing {
    let limit = Duration::from_secs(60);
    let standing = crew
        .foreman
        .settle(&namespace(), &"k8s".into(), limit, &|_| {})
        .await;
    standing.unwrap().unwrap()
}

/// The digests of the images that the machines of the pool are made of.
fn made_of(lab: &Lab) -> Vec<String> {
    let machines = lab.sims[0].look().machines;
    let marks = machines.iter().filter_map(|machine| machine.mark.ours());
    let images = marks.flat_map(|mark| mark.disks.values().filter_map(|disk| disk.image.clone()));
    images
        .filter_map(|image| Some(image.digest?.to_string()))
        .collect()
}

async fn a_pool_rolls_to_the_newest_revision_of_its_image_and_stays_with_a_pinned_one(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    let first = captured(&crew, "one", 1).await;
    lab.put(of("image:golden")).await;
    assert_eq!(settle(&crew).await.free, 2);
    assert_eq!(lab.pool().await.generation, 1);
    assert_eq!(
        made_of(&lab),
        [first.image.digest.to_string(), first.image.digest.to_string()]
    );

    let second = captured(&crew, "two", 2).await;
    assert_eq!(second.image.revision.0, 2);
    lab.time.skip(10_000);
    crew.foreman.pass().await.unwrap();
    assert_eq!(settle(&crew).await.free, 2);
    assert_eq!(lab.pool().await.generation, 2);
    assert_eq!(
        made_of(&lab),
        [second.image.digest.to_string(), second.image.digest.to_string()]
    );
    assert_eq!(lab.pool().await.spec.template, of("image:golden").template);

    lab.put(of("image:golden@1")).await;
    assert_eq!(settle(&crew).await.free, 2);
    assert_eq!(
        made_of(&lab),
        [first.image.digest.to_string(), first.image.digest.to_string()]
    );
    captured(&crew, "three", 3).await;
    lab.time.skip(10_000);
    crew.foreman.pass().await.unwrap();
    assert_eq!(lab.pool().await.generation, 3);
    assert_eq!(lab.in_state(State::Free).await, 2);
    lab.assert_nothing_doubled_or_orphaned().await;
}

async fn a_silent_host_rolls_no_pool_back_and_an_image_that_was_forgotten_does(database: &Database) {
    let lab = Lab::with(database, 2).await;
    let crew = lab.crew();
    captured_on(&crew, "lab1", "one", 1).await;
    let second = captured_on(&crew, "lab2", "two", 2).await;
    assert_eq!(second.image.revision.0, 2);
    lab.put(Spec {
        hosts: Some(["lab2".to_owned()].into()),
        ..of("image:golden")
    })
    .await;
    assert_eq!(settle(&crew).await.free, 2);
    let look = async || {
        lab.time.skip(10_000);
        crew.foreman.pass().await.unwrap();
        lab.pool().await.generation
    };
    lab.sims[1].stop_daemon();
    assert_eq!(
        look().await,
        1,
        "a host that does not tell may have the newer one"
    );
    lab.sims[1].start_daemon();
    assert_eq!(look().await, 1);
    crew.engine.forget_image(&"lab2".into(), &second).await.unwrap();
    assert_eq!(look().await, 2);
    assert_eq!(lab.stands().await, of("image:golden@1").template);
}

async fn who_settles_one_pool_leaves_the_images_of_others_alone(database: &Database) {
    let lab = Lab::with(database, 1).await;
    let crew = lab.crew();
    captured(&crew, "one", 1).await;
    lab.put(of("image:golden")).await;
    let now = lab.time.moment();
    let put: Result<_, Refusal> = lab
        .store
        .write(move |write| {
            let other = PoolName::from("other");
            pool::put(
                write,
                &namespace(),
                &other,
                &of("image:golden"),
                None,
                now,
                "test",
            )
        })
        .await;
    let other = put.unwrap();
    assert_eq!(settle(&crew).await.free, 2);
    assert_eq!(lab.stands().await, of("image:golden@1").template);
    let stands: Result<_, Refusal> = lab
        .store
        .read(move |read| Ok(pool::template_of(read, &other, 1)?))
        .await;
    assert_eq!(stands.unwrap(), Some(of("image:golden").template));
}

async fn an_image_that_no_host_has_is_waited_for_and_leaves_nothing_on_any(database: &Database) {
    let lab = Lab::with(database, 2).await;
    let crew = lab.crew();
    lab.put(of("image:golden@1")).await;
    for _ in 0..3 * ATTEMPTS {
        crew.foreman.pass().await.unwrap();
        let (pool, now) = (lab.pool().await, lab.time.moment());
        lab.time
            .skip(pool.retry_at.map_or(1_000, |at| (at.0 - now.0).max(1_000)));
    }
    let pool = lab.pool().await;
    assert_eq!(pool.failures, ATTEMPTS - 1, "it is not given up");
    let cause = pool.cause.unwrap();
    assert!(cause.contains("lab1: ") && cause.contains("lab2: "), "{cause}");
    assert!(lab.machines().is_empty(), "{:?}", lab.machines());
    captured(&crew, "one", 1).await;
    lab.time.skip(3_600_000);
    assert_eq!(settle(&crew).await.free, 2);
    lab.assert_nothing_doubled_or_orphaned().await;
}

//! `kill -9` of a provider between the store's commit and Terraform's state: the next apply takes up what is there, and what
//! another run makes or has written down is left alone.

use labyard_acceptance_tests::kept::Kept;
use labyard_acceptance_tests::processes::{self, Signal};
use labyard_acceptance_tests::simulated::Simulated;
use labyard_acceptance_tests::terraform::Running;
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{Terraform, both_ways, hcl};
use labyard_labs::maker::{self, Maker, Thing};
use labyard_store::StoreError;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

both_ways!(
    what_a_killed_apply_left_in_the_store_is_taken_up_by_the_next,
    what_another_apply_makes_is_waited_for_and_left_to_it,
);

const SOON: Duration = Duration::from_secs(60);
const FAULT: &str = "LABYARD_FAULT";
const APPLY: &[&str] = &["apply", "-json", "-input=false", "-auto-approve"];

fn pool() -> String {
    let body = "ready = 2\n  max = 4\n  recycle = \"recreate\"\n  template = { memory_mib = 64, boot = { kernel = \"/k\" }, \
                ready = { wait = \"none\" } }";
    hcl::resource("labyard_vm_pool", "k8s", body)
}

fn code() -> String {
    let body = "pools = { (labyard_vm_pool.k8s.name) = {} }\n  code = \"Robotics-101\"";
    hcl::resource("labyard_access_code", "class", body)
}

/// An apply that has come to a place and stands there; others do not.
fn held_at(place: &str, terraform: &mut Terraform<'_>, held: &Path) -> Running {
    terraform.env(FAULT, &format!("hold@{place}:{}", held.display()));
    let running = terraform.start(APPLY).unwrap();
    terraform.env(FAULT, "");
    comes(place, SOON, || held.exists() || !running.goes_on());
    if !held.exists() {
        panic!("the apply ended by itself:\n{}", running.end().unwrap().text());
    }
    running
}

fn killed(running: Running, held: &Path) {
    let provider = running.provider().expect("a provider runs");
    processes::send(Signal::Kill, provider).unwrap();
    running.end().unwrap().expect_failure();
    comes("the provider's end", SOON, || !processes::runs(provider));
    std::fs::remove_file(held).unwrap();
}

/// Who makes it, as the store has it.
fn maker_of(kept: &Kept, thing: Thing) -> Option<Maker> {
    let store = kept.open();
    let found = store.read(move |read| maker::of(read, &"default".into(), &thing));
    let found: Result<_, StoreError> = kept.wait(found);
    found.unwrap()
}

fn what_a_killed_apply_left_in_the_store_is_taken_up_by_the_next(way: Way) {
    let (kept, host, files) = (Kept::sqlite(), Simulated::start(), TempDir::new().unwrap());
    let (lab, held) = (way.to(&kept, &host.hosts()), files.path().join("held"));
    let mut terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(lab.provider("default") + &pool() + &code()))
        .unwrap();
    killed(held_at("pool-made", &mut terraform, &held), &held);
    assert!(maker_of(&kept, Thing::Pool("k8s".into())).is_some());
    // The pool is taken up on the way to the code.
    killed(held_at("code-made", &mut terraform, &held), &held);
    let left = kept.code("default", "class").unwrap();
    assert!(left.maker.is_some());
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    let taken = kept.code("default", "class").unwrap();
    assert_eq!((taken.maker.as_ref(), taken.texts()), (None, left.texts()));
    assert_ne!(taken.id, left.id, "whoever had the old one is told");
    assert_eq!(maker_of(&kept, Thing::Pool("k8s".into())), None);
    assert_eq!(host.machines().len(), 2);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

fn what_another_apply_makes_is_waited_for_and_left_to_it(way: Way) {
    let (kept, host, files) = (Kept::sqlite(), Simulated::start(), TempDir::new().unwrap());
    let (lab, held) = (way.to(&kept, &host.hosts()), files.path().join("held"));
    let config =
        lab.provider("default") + &hcl::resource("labyard_access_code", "class", "pools = { k8s = {} }");
    let (mut first, second) = (Terraform::new().unwrap(), Terraform::new().unwrap());
    first.write("main.tf", &config).unwrap();
    second.write("main.tf", &config).unwrap();
    let making = held_at("code-made", &mut first, &held);
    let waits = second.start(APPLY).unwrap();
    std::fs::remove_file(&held).unwrap();
    making.end().unwrap().expect_success();
    let refused = waits.end().unwrap().expect_failure();
    assert!(refused.text().contains("terraform import"), "{}", refused.text());
    first.assert_settled();
    assert_eq!(kept.code("default", "class").unwrap().maker, None);
    first.destroyed();
}

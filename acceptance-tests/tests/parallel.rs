//! Fifty machines at once, in one apply or in two of different states: one image, one network, an address each; and
//! nothing is left of them.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::terraform::{Run, Terraform};
use labyard_acceptance_tests::whole::{assert_whole, lab, machine, write_image};
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

const MACHINES: usize = 50;
const AT_ONCE: &str = "-parallelism=50";
/// Many times what it takes: what would go over it waits for something or does it once a machine.
const BOUND: Duration = Duration::from_secs(180);

#[track_caller]
fn timed(what: &str, run: Run) {
    let run = run.expect_success();
    eprintln!("{what}: {:.1?}", run.took());
    assert!(run.took() < BOUND, "{what} took {:?}", run.took());
}

#[test]
fn fifty_machines_are_made_and_removed_at_once() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
    let names: Vec<_> = (0..MACHINES).map(|n| format!("web-{n:02}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let terraform = Terraform::new().unwrap();
    terraform
        .write("main.tf", &(hcl::on(&host) + &lab(&image, &names)))
        .unwrap();

    timed("apply", terraform.apply(&[AT_ONCE]).unwrap());
    assert_whole(&host, &names);
    let plan = terraform.plan(&[AT_ONCE]).unwrap();
    plan.expect_empty();
    timed("plan", plan.run().clone());
    timed("destroy", terraform.destroy(&[AT_ONCE]).unwrap());
    let changes = begun.changes_to(&host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

/// The addresses that a state shows of its machines.
fn addresses(state: &Terraform<'_>) -> Vec<String> {
    let resources = state.state().unwrap()["values"]["root_module"]["resources"].clone();
    let machines = resources.as_array().unwrap().iter();
    machines
        .map(|machine| machine["values"]["ip"].as_str().unwrap().to_owned())
        .collect()
}

/// Lets both states run at once, each with all its machines at once.
fn both(states: &[Terraform<'_>; 2], verb: &str) {
    let arguments = [verb, "-json", "-input=false", "-auto-approve", AT_ONCE];
    let running = states.each_ref().map(|state| state.start(&arguments).unwrap());
    for run in running {
        timed(verb, run.end().unwrap());
    }
}

#[test]
fn two_states_fill_one_network_at_once_from_one_image_and_neither_loses_or_doubles_anything() {
    let host = Host::start().unwrap();
    let begun = host.inventory().unwrap();
    let files = TempDir::new().unwrap();
    let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
    // A third state's network, which both know by its name on the host.
    let ground = Terraform::new().unwrap();
    ground.applied(&(hcl::on(&host) + &hcl::network("lab", 77)));
    let names: Vec<_> = (0..MACHINES / 2).map(|n| format!("web-{n:02}")).collect();
    let states = ["blue", "green"].map(|namespace| {
        let terraform = Terraform::new().unwrap();
        let machines: String = names
            .iter()
            .map(|name| machine(name, &image, "\"lab\"", ""))
            .collect();
        let config = hcl::in_namespace(namespace, &host) + &machines;
        terraform.write("main.tf", &config).unwrap();
        terraform
    });

    both(&states, "apply");
    let on_host =
        |namespace: &str| -> Vec<String> { names.iter().map(|name| format!("{namespace}.{name}")).collect() };
    let all = [on_host("blue"), on_host("green")].concat();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    assert_whole(&host, &all);
    let given: Vec<_> = states.iter().flat_map(addresses).collect();
    let different: BTreeSet<_> = given.iter().collect();
    assert_eq!(
        (given.len(), different.len()),
        (MACHINES, MACHINES),
        "an address each: {given:?}"
    );
    for state in &states {
        state.plan(&[AT_ONCE]).unwrap().expect_empty();
    }

    both(&states, "destroy");
    assert_whole(&host, &[]);
    ground.plan(&[]).unwrap().expect_empty();
    ground.destroyed();
    host.assert_as(&begun);
}

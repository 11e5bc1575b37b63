//! Two runs that know nothing of each other: of one name and namespace exactly one gets the machine, the other a clear
//! error; of two namespaces both are whole; and a run that was broken off, once or twice, is taken up by its own next.

use labyard_acceptance_tests::hcl;
use labyard_acceptance_tests::host::Host;
use labyard_acceptance_tests::processes::Signal;
use labyard_acceptance_tests::terraform::{Run, Running, Terraform};
use labyard_acceptance_tests::wait::comes;
use labyard_acceptance_tests::web::Web;
use labyard_acceptance_tests::whole::{assert_whole, lab, machine, write_image};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const FAULT: &str = "LABYARD_FAULT";
const APPLY: &[&str] = &["apply", "-json", "-input=false", "-auto-approve"];
/// The user's own bound of a create bounds the wait for another builder too.
const IMPATIENT: &str = "timeouts = { create = \"3s\" }";

/// A host, an image, and a place for the file of a run that is held.
struct Scene {
    host: Host,
    files: TempDir,
    image: String,
}

impl Scene {
    fn new() -> Self {
        let files = TempDir::new().unwrap();
        let image = write_image(&files.path().join("image.qcow2"), 100_000).unwrap();
        Self {
            host: Host::start().unwrap(),
            files,
            image,
        }
    }

    fn held(&self) -> PathBuf {
        self.files.path().join("held")
    }

    /// Appears when a frozen run was told to stop.
    fn stopped(&self) -> PathBuf {
        self.files.path().join("held.stopped")
    }

    fn state(&self, config: &str) -> Terraform<'_> {
        let terraform = Terraform::new().unwrap();
        let config = hcl::on(&self.host) + config;
        terraform.write("main.tf", &config).unwrap();
        terraform
    }

    /// A state with network and machine.
    fn first(&self) -> Terraform<'_> {
        self.state(&lab(&self.image, &["web"]))
    }

    /// A state that wants the same machine on the same network, and has little patience.
    fn second(&self) -> Terraform<'_> {
        self.state(&machine("web", &self.image, "\"lab\"", IMPATIENT))
    }

    /// Starts an apply and waits until it stands at a point.
    fn stopped_at(&self, terraform: &mut Terraform<'_>, point: &str) -> Running {
        for file in [self.held(), self.stopped()] {
            if file.exists() {
                std::fs::remove_file(file).unwrap();
            }
        }
        terraform.env(FAULT, &format!("{point}:{}", self.held().display()));
        let running = terraform.start(APPLY).unwrap();
        terraform.env(FAULT, "");
        comes(point, SOON, || self.held().exists() || !running.goes_on());
        if !self.held().exists() {
            panic!("the apply ended by itself:\n{}", running.end().unwrap().text());
        }
        running
    }
}

#[track_caller]
fn assert_says(run: &Run, words: &[&str]) {
    let errors = run.errors();
    assert_eq!(errors.len(), 1, "{}", run.text());
    let said = errors[0].text();
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
}

/// The second state cannot have the machine and holds nothing of it; the first has it whole.
#[track_caller]
fn assert_refused(scene: &Scene, first: &Terraform<'_>, second: &Terraform<'_>) {
    let refused = second.apply(&[]).unwrap().expect_failure();
    assert_says(
        &refused,
        &[
            "labyard_vm \"web\"",
            "exists already",
            "lab1",
            "terraform import",
            "lab1/web",
        ],
    );
    assert!(second.attributes("labyard_vm.web").unwrap().is_none());
    first.plan(&[]).unwrap().expect_empty();
    assert_whole(&scene.host, &["web"]);
}

#[test]
fn a_second_state_is_told_who_builds_and_then_who_has_the_machine() {
    let scene = Scene::new();
    let begun = scene.host.inventory().unwrap();
    let (mut first, second) = (scene.first(), scene.second());

    let building = scene.stopped_at(&mut first, "hold@disks");
    let provider = building.provider().expect("a provider runs");
    let refused = second.apply(&[]).unwrap().expect_failure();
    assert_says(
        &refused,
        &[
            "labyard_vm \"web\"",
            "being built",
            "lab1",
            &format!("process {provider}"),
        ],
    );
    assert!(refused.took() < Duration::from_secs(30), "{:?}", refused.took());
    std::fs::remove_file(scene.held()).unwrap();
    building.end().unwrap().expect_success();
    assert_refused(&scene, &first, &second);

    // What the second was told to do works: it has the machine now, and the first is told so, too, and loses nothing.
    second
        .import("labyard_vm.web", "lab1/web")
        .unwrap()
        .expect_success();
    second.plan(&[]).unwrap().expect_success();
    assert_whole(&scene.host, &["web"]);
    first.destroy(&[]).unwrap().expect_success();
    let changes = begun.changes_to(&scene.host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

#[test]
fn a_second_state_that_waits_for_the_first_is_told_as_soon_as_that_is_through() {
    let scene = Scene::new();
    let (mut first, second) = (
        scene.first(),
        scene.state(&machine("web", &scene.image, "\"lab\"", "")),
    );
    let building = scene.stopped_at(&mut first, "hold@disks");
    let waiting = second.start(APPLY).unwrap();
    comes("the second's provider", SOON, || waiting.provider().is_some());
    std::fs::remove_file(scene.held()).unwrap();
    building.end().unwrap().expect_success();
    let refused = waiting.end().unwrap().expect_failure();
    assert_says(&refused, &["exists already", "terraform import", "lab1/web"]);
    assert!(refused.took() < SOON, "{:?}", refused.took());
    first.plan(&[]).unwrap().expect_empty();
    assert_whole(&scene.host, &["web"]);
}

#[test]
fn a_run_that_was_broken_off_keeps_what_it_reached_and_the_next_apply_finishes() {
    let scene = Scene::new();
    let begun = scene.host.inventory().unwrap();
    for stage in ["record", "disks", "finished"] {
        let mut first = scene.first();
        let running = scene.stopped_at(&mut first, &format!("hold@{stage}"));
        running.signal(Signal::Interrupt).unwrap();
        let stopped = running.end().unwrap();
        assert!(stopped.took() < SOON, "{:?}", stopped.took());
        let kept = first.attributes("labyard_vm.web").unwrap();
        assert!(kept.is_some(), "broken off at {stage}:\n{}", stopped.text());
        first.apply(&[]).unwrap().expect_success();
        assert_whole(&scene.host, &["web"]);
        first.plan(&[]).unwrap().expect_empty();
        first.destroy(&[]).unwrap().expect_success();
        let changes = begun.changes_to(&scene.host.inventory().unwrap());
        assert!(changes.is_empty(), "broken off at {stage}:\n{changes}");
    }
}

#[test]
fn a_run_that_was_broken_off_twice_and_lost_its_state_is_taken_up_by_its_own_next() {
    let scene = Scene::new();
    let begun = scene.host.inventory().unwrap();
    for stage in ["disks", "finished"] {
        let (mut first, second) = (scene.first(), scene.second());
        let running = scene.stopped_at(&mut first, &format!("freeze@{stage}"));
        let provider = running.provider().expect("a provider runs");
        running.signal(Signal::Interrupt).unwrap();
        // Terraform takes the second as a second only when it has seen the first.
        comes("the first interrupt", SOON, || scene.stopped().exists());
        running.signal(Signal::Interrupt).unwrap();
        let given_up = running.end().unwrap().expect_failure();
        assert!(given_up.took() < SOON, "{:?}", given_up.took());
        comes("the provider's end", SOON, || {
            !labyard_acceptance_tests::processes::runs(provider)
        });
        first.put_back_half_a_state("");
        assert!(
            first.attributes("labyard_vm.web").unwrap().is_none(),
            "{}",
            given_up.text()
        );

        first.apply(&[]).unwrap().expect_success();
        assert_whole(&scene.host, &["web"]);
        assert_refused(&scene, &first, &second);
        first.destroy(&[]).unwrap().expect_success();
        let changes = begun.changes_to(&scene.host.inventory().unwrap());
        assert!(changes.is_empty(), "given up at {stage}:\n{changes}");
    }
}

#[test]
fn two_namespaces_that_build_at_once_share_one_image_and_are_both_whole() {
    let scene = Scene::new();
    let begun = scene.host.inventory().unwrap();
    let content = std::fs::read(scene.files.path().join("image.qcow2")).unwrap();
    let half = content.len() as u64 / 2;
    let web = Web::serve(content, half).unwrap();
    let states: Vec<_> = [("blue", 77), ("green", 78)]
        .into_iter()
        .map(|(namespace, subnet)| {
            let terraform = Terraform::new().unwrap();
            let config = hcl::in_namespace(namespace, &scene.host)
                + &hcl::network("lab", subnet)
                + &machine("web", &web.url(), "labyard_network.lab.name", "");
            terraform.write("main.tf", &config).unwrap();
            terraform
        })
        .collect();
    let running: Vec<_> = states.iter().map(|state| state.start(APPLY).unwrap()).collect();
    comes("both uploads", SOON, || web.waiting() == 2);
    web.open();
    for run in running {
        run.end().unwrap().expect_success();
    }
    assert_eq!(web.requests(), 2);
    assert_whole(&scene.host, &["blue.web", "green.web"]);
    for state in &states {
        state.plan(&[]).unwrap().expect_empty();
    }
    states[0].destroy(&[]).unwrap().expect_success();
    // The image serves the other, as long as that stands.
    assert_whole(&scene.host, &["green.web"]);
    states[1].plan(&[]).unwrap().expect_empty();
    states[1].destroy(&[]).unwrap().expect_success();
    let changes = begun.changes_to(&scene.host.inventory().unwrap());
    assert!(changes.is_empty(), "left over or lost:\n{changes}");
}

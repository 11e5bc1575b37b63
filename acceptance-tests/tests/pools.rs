//! Pools with real Terraform on real stores and a simulated host: filled, claimed, rolled, shrunk, imported, healed, emptied.

use labyard_acceptance_tests::kept::{KEY, Kept};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::simulated::Simulated;
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::wait::{Look, until};
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{Terraform, both_ways, hcl};
use labyard_driver_sim::{GuestFault, GuestSettings};
use labyard_foreman::spec;
use labyard_labs::pool;
use labyard_schema::vm_pool::VmPool;
use serde_json::json;
use std::time::Duration;

both_ways!(
    a_pool_and_its_code_in_one_apply_are_filled_claimed_rolled_and_emptied,
    an_update_that_does_not_come_to_its_end_is_planned_again_until_the_pool_is_seen_settled,
    what_is_not_known_at_validate_is_no_mistake_and_a_replacement_says_what_ends,
    secrets_of_a_template_are_sealed_in_the_store_alone_and_roll_by_their_version,
    every_attribute_is_kept_imported_changed_in_place_and_healed,
);

const POOL: &str = "labyard_vm_pool.k8s";
const SMALL: &str =
    "template = { memory_mib = 64, boot = { kernel = \"/k\" }, ready = { wait = \"agent\" } }";

fn pool_of(body: &str) -> String {
    hcl::resource("labyard_vm_pool", "k8s", body)
}

fn data() -> &'static str {
    "data \"labyard_vm_pool\" \"k8s\" {\n  name = labyard_vm_pool.k8s.name\n}\noutput \"pool\" {\n  value = data.labyard_vm_pool.k8s\n}\n"
}

#[track_caller]
fn assert_said(run: &Run, text: &str) {
    assert!(run.text().contains(text), "{text:?} is not in\n{}", run.text());
}

/// One machine is claimed, so many are free.
#[track_caller]
fn assert_counts(shown: &serde_json::Value, condition: &str, free: u32) {
    assert_eq!(
        (&shown["counts"]["claimed"], &shown["counts"]["free"]),
        (&json!(1), &json!(free))
    );
    assert_eq!(shown["condition"], json!(condition));
}

/// What the data source shows now.
fn seen(terraform: &Terraform<'_>) -> serde_json::Value {
    terraform.apply(&["-refresh-only"]).unwrap().expect_success();
    terraform.state().unwrap()["values"]["outputs"]["pool"]["value"].clone()
}

fn a_pool_and_its_code_in_one_apply_are_filled_claimed_rolled_and_emptied(way: Way) {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let lab = way.to(&kept, &host.hosts());
    let terraform = Terraform::new().unwrap();
    let config = |body: &str| {
        lab.provider("default")
            + &pool_of(body)
            + "resource \"labyard_access_code\" \"class\" {\n  name = \"class\"\n  pools = { (labyard_vm_pool.k8s.name) = { count = 1 } }\n}\n"
            + data()
    };
    let two = format!("ready = 2\n  max = 6\n  {SMALL}");
    let plan = terraform.planned(&config(&two));
    let keepers = plan.run().text().contains("Nothing keeps k8s filled");
    assert_eq!(keepers, way == Way::Embedded, "a daemon refills");
    assert!(host.machines().is_empty());
    terraform.applied(&config(&two));
    terraform.assert_settled();
    assert_eq!(host.machines(), ["k8s-1", "k8s-2"]);
    terraform.take_up_as_written(POOL, "k8s");
    terraform.assert_settled();
    let mine = hcl::resource("labyard_vm", "mine", "memory_mib = 64");
    terraform.write("mine.tf", &mine).unwrap();
    let run = terraform.import("labyard_vm.mine", "lab1/k8s-1").unwrap();
    assert_said(&run.expect_failure(), "is machine 1 of pool k8s");
    terraform.write("mine.tf", "").unwrap();

    let code = terraform.resource("labyard_access_code.class")["codes"]["main"].clone();
    let claim = kept.redeem(code.as_str().unwrap(), "ada").unwrap().claim;
    assert_eq!(claim.machines.len(), 1);
    terraform
        .plan(&["-refresh-only"])
        .unwrap()
        .run()
        .clone()
        .expect_success();
    match way {
        Way::Embedded => assert_counts(&seen(&terraform), "filling", 1),
        Way::Remote => {
            let refilled = until("the daemon refills the pool", Duration::from_secs(60), || {
                let shown = seen(&terraform);
                Ok(match shown["condition"] == json!("settled") {
                    true => Look::Holds(shown),
                    false => Look::NotYet(shown["counts"].to_string()),
                })
            });
            assert_counts(&refilled.unwrap(), "settled", 2);
        }
    }

    let three = two.replace("ready = 2", "ready = 3");
    terraform.applied(&config(&three));
    terraform.assert_settled();
    assert_counts(&seen(&terraform), "settled", 3);
    assert_eq!(host.machines().len(), 4);

    // Another template rolls through the free machines; the claimed one stays.
    let rolled = three.replace("memory_mib = 64", "memory_mib = 96");
    let plan = terraform.planned(&config(&rolled));
    assert_eq!(plan.actions(POOL), ["update"]);
    assert_said(plan.run(), "k8s rolls to a new template");
    assert_said(plan.run(), "1 that claims have stay as they are");
    terraform.applied(&config(&rolled));
    terraform.assert_settled();
    let shown = seen(&terraform);
    assert_eq!(
        (&shown["generation"], &shown["counts"]["free"]),
        (&json!(2), &json!(3))
    );
    let generations: Vec<_> = shown["machines"]
        .as_object()
        .unwrap()
        .values()
        .map(|machine| (machine["state"].clone(), machine["generation"].clone()))
        .collect();
    assert_eq!(
        generations
            .iter()
            .filter(|(_, generation)| *generation == json!(1))
            .collect::<Vec<_>>(),
        [&(json!("claimed"), json!(1))]
    );

    let plan = terraform.planned(&config(&rolled.replace("ready = 3", "ready = 1")));
    assert_said(plan.run(), "2 of 3 free machines are destroyed");
    terraform.apply(&[]).unwrap().expect_success();
    assert_eq!(host.machines().len(), 2);

    // A claim stands against the pool's end, until it is said what it means.
    let refused = terraform
        .plan(&["-destroy"])
        .unwrap()
        .run()
        .clone()
        .expect_failure();
    assert_said(
        &refused,
        "1 claims have machines of pool k8s or wait for them, and on_destroy is \"refuse\"",
    );
    let forced = rolled.replace("ready = 3", "ready = 1\n  on_destroy = \"force\"");
    terraform.applied(&config(&forced));
    let plan = terraform.plan(&["-destroy"]).unwrap().expect_success();
    assert_said(plan.run(), "1 claims end, and their machines go");
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

#[test]
fn an_apply_that_cannot_fill_its_pool_fails_in_time_with_what_hangs_and_one_more_mends_it() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let terraform = Terraform::new().unwrap();
    let config = |cmdline: &str, create: &str| {
        let network = hcl::network("lab", 77);
        let template = format!(
            "template = {{\n    memory_mib = 64\n    nics = {{ lan = {{ network = labyard_network.lab.name }} }}\n    boot = {{ kernel = \"/k\", cmdline = \"{cmdline}\" }}\n    ready = {{ wait = \"address\", timeout = \"1s\" }}\n  }}"
        );
        kept.provider("default", &host.hosts())
            + &network
            + &pool_of(&format!(
                "ready = 1\n  max = 2\n  recycle = \"recreate\"\n  timeouts = {{ create = {create:?}, delete = \"60s\" }}\n  {template}"
            ))
    };
    terraform
        .write("main.tf", &config("sim.no_address", "4s"))
        .unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert_said(&run, "Pool not filled");
    assert_said(&run, "0 of 1 ready");
    assert_said(&run, "builds in a row failed, the last one: ");
    assert_said(&run, "terraform untaint");
    terraform.applied(&config("quiet", "2m"));
    terraform.assert_settled();
    assert_eq!(host.machines().len(), 1);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

fn an_update_that_does_not_come_to_its_end_is_planned_again_until_the_pool_is_seen_settled(way: Way) {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let lab = way.to(&kept, &host.hosts());
    let terraform = Terraform::new().unwrap();
    let config = |ready: u32| {
        let template = "template = {\n    memory_mib = 64\n    nics = { lan = { network = labyard_network.lab.name } }\n    boot = { kernel = \"/k\" }\n    ready = { wait = \"address\", timeout = \"1s\" }\n  }";
        lab.provider("default")
            + &hcl::network("lab", 77)
            + &pool_of(&format!(
                "ready = {ready}\n  max = 3\n  recycle = \"recreate\"\n  timeouts = {{ update = \"4s\", delete = \"60s\" }}\n  {template}"
            ))
    };
    terraform.applied(&config(1));
    terraform.assert_settled();
    let guests = |fault: GuestFault| {
        host.host().set_guests(GuestSettings {
            fault,
            ..GuestSettings::default()
        });
    };
    guests(GuestFault::NoAddress);
    terraform.write("main.tf", &config(2)).unwrap();
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert_said(&run, "Pool not changed");
    let again = terraform.planned(&config(2));
    assert_eq!(again.actions(POOL), ["update"]);
    assert_said(again.run(), "k8s is seen to again");
    guests(GuestFault::None);
    terraform.applied(&config(2).replace("update = \"4s\"", "update = \"2m\""));
    terraform.assert_settled();
    assert_eq!(host.machines().len(), 2);
    terraform.destroyed();
}

fn what_is_not_known_at_validate_is_no_mistake_and_a_replacement_says_what_ends(way: Way) {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let lab = way.to(&kept, &host.hosts());
    let terraform = Terraform::new().unwrap();
    let config = |name: &str| {
        let unknown =
            "resource \"terraform_data\" \"class\" {\n  input = { ready = 1, max = 3, zone = \"UTC\" }\n}\n";
        let body = format!(
            "ready = terraform_data.class.output.ready\n  max = terraform_data.class.output.max\n  \
             schedule = {{ term = {{ timezone = terraform_data.class.output.zone, days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"], from = \"00:00\", to = \"00:00\" }} }}\n  {SMALL}"
        );
        lab.provider("default")
            + unknown
            + &pool_of(&body).replace("name = \"k8s\"", &format!("name = {name:?}"))
            + "resource \"labyard_access_code\" \"class\" {\n  name = \"class\"\n  pools = { k8s = { count = 1 } }\n}\n"
    };
    terraform.applied(&config("k8s"));
    terraform.assert_settled();
    let code = terraform.resource("labyard_access_code.class")["codes"]["main"].clone();
    kept.redeem(code.as_str().unwrap(), "ada").unwrap();
    let refused = terraform.plan_of(&config("other")).run().clone().expect_failure();
    assert_said(
        &refused,
        "1 claims have machines of pool k8s or wait for them, and on_destroy is \"refuse\"",
    );
}

fn secrets_of_a_template_are_sealed_in_the_store_alone_and_roll_by_their_version(way: Way) {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let lab = way.to(&kept, &host.hosts());
    let mut terraform = Terraform::new().unwrap();
    terraform.env("TF_VAR_data", "#cloud-config\n# Sentinel-Q7-one\n");
    let config = |version: u32| {
        let seed = format!("cloud_init = {{ user_data_wo = var.data, user_data_wo_version = {version} }}");
        let body = format!(
            "ready = 1\n  max = 3\n  template = {{ memory_mib = 64, boot = {{ kernel = \"/k\" }}, ready = {{ wait = \"agent\" }}, {seed} }}"
        );
        lab.provider("default") + "variable \"data\" {\n  ephemeral = true\n}\n" + &pool_of(&body) + data()
    };
    terraform.planned(&config(1));
    let plan = std::fs::read(terraform.directory().join("plan.bin")).unwrap();
    assert!(!String::from_utf8_lossy(&plan).contains("Sentinel"));
    terraform.applied(&config(1));
    terraform.assert_settled();
    terraform.take_up_as_written(POOL, "k8s");
    terraform.assert_settled();
    assert!(!terraform.state_text().contains("Sentinel"));
    // The secret alone changes nothing, not even with another change; its version rolls.
    terraform.env("TF_VAR_data", "#cloud-config\n# Sentinel-Q7-two\n");
    terraform.planned(&config(1)).expect_empty();
    terraform.applied(&config(1).replace("max = 3", "max = 4"));
    assert_eq!(seen(&terraform)["generation"], json!(1));
    terraform.applied(&config(2));
    terraform.assert_settled();
    assert_eq!(seen(&terraform)["generation"], json!(2));
    for bytes in kept.files() {
        assert!(!String::from_utf8_lossy(&bytes).contains("Sentinel"));
    }
    assert!(!terraform.state_text().contains("Sentinel"));
    terraform.destroyed();
}

/// The networks that the cards of [`FULL`] are on.
fn networks() -> String {
    let on = |body: &str| format!("host = \"lab1\"\n  {body}");
    hcl::resource(
        "labyard_network",
        "lab",
        on(
            "mode = \"nat\"\n  ipv4 = { cidr = \"10.77.0.0/24\", dhcp = { start = \"10.77.0.100\", end = \"10.77.0.200\" } }",
        ),
    ) + &hcl::resource("labyard_network", "idle", on("mode = \"isolated\""))
}

/// Every attribute but the template's, which are a machine's and shown there. No machine is made.
const FULL: &str = r#"hosts = ["lab1"]
  ready = 1
  max = 7
  max_in_flight = 3
  strategy = "on_demand"
  recycle = "recreate"
  on_destroy = "drain"
  isolated = false
  access = "claimer"
  together = true
  claim_network = { nic = "own", cidr = "10.78.0.0/24" }
  on_pause = "leave"
  keep_failed = 2
  lease = { default = "1h30m", max = "4h", idle = "15m", pause = "10m" }
  schedule = {
    term = { timezone = "Europe/Madrid", days = ["mon", "wed"], from = "08:00", to = "12:00", not_before = "2026-09-01",
             not_after = "2026-12-20", warm_up = "30m", at_end = "cut_off" }
    exam = { timezone = "UTC", start = "2026-12-21T08:00", end = "2026-12-21T12:00" }
  }
  timeouts = { create = "5m", update = "6m", delete = "7m" }
  template = { memory_mib = 64, nics = { lan = { network = "lab" }, own = { network = "idle" } }, ready = { wait = "none" } }
  depends_on = [labyard_network.lab, labyard_network.idle]"#;
const LEAVES: [&str; 31] = [
    "hosts",
    "ready",
    "max",
    "max_in_flight",
    "strategy",
    "recycle",
    "on_destroy",
    "isolated",
    "access",
    "together",
    "claim_network.nic",
    "claim_network.cidr",
    "on_pause",
    "keep_failed",
    "lease.default",
    "lease.max",
    "lease.idle",
    "lease.pause",
    "schedule.timezone",
    "schedule.days",
    "schedule.from",
    "schedule.to",
    "schedule.not_before",
    "schedule.not_after",
    "schedule.start",
    "schedule.end",
    "schedule.warm_up",
    "schedule.at_end",
    "timeouts.create",
    "timeouts.update",
    "timeouts.delete",
];
const CHANGES: [(&str, &str); 31] = [
    ("hosts = [\"lab1\"]", "hosts = [\"lab1\", \"lab2\"]"),
    ("ready = 1", "ready = 2"),
    ("max = 7", "max = 8"),
    ("max_in_flight = 3", "max_in_flight = 4"),
    ("\"recreate\"", "\"reset\""),
    ("\"drain\"", "\"force\""),
    ("isolated = false", "isolated = true"),
    ("access = \"claimer\"", "access = \"open\""),
    ("together = true", "together = false"),
    ("nic = \"own\"", "nic = \"lan\""),
    ("10.78.0.0/24", "10.79.0.0/25"),
    ("\"leave\"", "\"suspend\""),
    ("keep_failed = 2", "keep_failed = 3"),
    ("1h30m", "2h"),
    ("max = \"4h\"", "max = \"5h\""),
    ("15m", "16m"),
    ("pause = \"10m\"", "pause = \"11m\""),
    ("Europe/Madrid", "Europe/Paris"),
    ("[\"mon\", \"wed\"]", "[\"mon\", \"thu\"]"),
    ("from = \"08:00\"", "from = \"08:30\""),
    ("to = \"12:00\"", "to = \"12:30\""),
    ("2026-09-01", "2026-09-02"),
    ("2026-12-20", "2026-12-19"),
    ("2026-12-21T08:00", "2026-12-21T07:00"),
    ("2026-12-21T12:00", "2026-12-21T13:00"),
    ("warm_up = \"30m\"", "warm_up = \"31m\""),
    ("\"cut_off\"", "\"soft\""),
    ("create = \"5m\"", "create = \"8m\""),
    ("update = \"6m\"", "update = \"8m\""),
    ("delete = \"7m\"", "delete = \"8m\""),
    ("\"on_demand\"", "\"warm\""),
];

fn paths(leaves: &[&str]) -> Vec<String> {
    leaves
        .iter()
        .map(|leaf| format!("labyard_vm_pool.{leaf}"))
        .collect()
}

fn shown(leaves: &[&str], case: Case) {
    let paths = paths(leaves);
    shows(&paths.iter().map(String::as_str).collect::<Vec<_>>(), case);
}

/// Somebody else changes all of a pool: a plan sees each.
fn all_drifts(kept: &Kept, terraform: &Terraform<'_>, changed: &pool::Pool) {
    let store = kept.open();
    let other: VmPool = serde_json::from_value(json!({
        "name": "k8s", "ready": 0, "max": 9, "max_in_flight": 9, "strategy": "on_demand", "recycle": "recreate",
        "on_destroy": "refuse", "isolated": false, "access": "claimer", "together": true, "claim_network": { "nic": "own", "cidr": "10.99.0.0/24" }, "on_pause": "leave", "keep_failed": 9, "hosts": ["lab2"], "lease": { "default": "9m", "max": "9h", "idle": "9m", "pause": "9m" },
        "schedule": { "term": { "timezone": "UTC", "days": ["sun"], "from": "09:09", "to": "19:09", "not_before": "2026-09-09",
            "not_after": "2026-10-09", "warm_up": "9m", "at_end": "cut_off" },
          "exam": { "timezone": "Europe/Rome", "start": "2026-09-09T09:09", "end": "2026-09-09T19:09", "at_end": "cut_off" } },
        "template": serde_json::from_value::<serde_json::Value>(changed.spec.template.clone()).unwrap(),
    }))
    .unwrap();
    let other = spec::kept(&other).unwrap().spec;
    let put = store.write(move |write| {
        pool::put(
            write,
            &"default".into(),
            &"k8s".into(),
            &other,
            None,
            labyard_acceptance_tests::kept::now(),
            "somebody",
        )
    });
    kept.wait(put).unwrap();
    let plan = terraform.plan(&[]).unwrap().expect_success();
    let (before, after) = (&plan.change(POOL)["before"], &plan.change(POOL)["after"]);
    let drifting: Vec<&str> = LEAVES
        .into_iter()
        .filter(|leaf| !leaf.starts_with("timeouts"))
        .collect();
    for leaf in &drifting {
        let window = if leaf.ends_with("start") || leaf.ends_with("end") && !leaf.ends_with("at_end") {
            "exam"
        } else {
            "term"
        };
        let at = match leaf.strip_prefix("schedule.") {
            Some(rest) => format!("/schedule/{window}/{rest}"),
            None => format!("/{}", leaf.replace('.', "/")),
        };
        assert_ne!(
            before.pointer(&at).unwrap(),
            after.pointer(&at).unwrap(),
            "{leaf}"
        );
    }
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    shown(&drifting, Case::Drift);
}

fn every_attribute_is_kept_imported_changed_in_place_and_healed(way: Way) {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let terraform = Terraform::new().unwrap();
    let socket = host.socket().display().to_string();
    let hosts = format!(
        "hosts = {{ lab1 = {{ sim = {{ socket = {socket:?} }} }}, lab2 = {{ sim = {{ socket = {socket:?} }} }} }}"
    );
    let lab = way.to(&kept, &hosts);
    let head = lab.provider("default") + &networks();
    terraform.applied(&(head.clone() + &pool_of(FULL)));
    terraform.assert_settled();
    let store = kept.open();
    let find = || {
        let found = store.read(|read| pool::find(read, &"default".into(), &"k8s".into()));
        kept.wait(found).unwrap()
    };
    let made = find();
    let written = serde_json::to_value(&made.spec).unwrap().to_string();
    for part in [
        "\"lab1\"",
        "5400000",
        "14400000",
        "900000",
        "600000",
        "Europe/Madrid",
        "\"wed\"",
        "2026-12-21T12:00",
        "1800000",
    ] {
        assert!(written.contains(part), "{part} is not in {written}");
    }
    let whole = [&LEAVES[..], &["name", "id"]].concat();
    shown(&whole, Case::Create);
    terraform.take_up_as_written(POOL, "k8s");
    terraform.assert_settled();
    shown(&whole, Case::Import);

    let mut now = FULL.to_owned();
    // A few plans for so many changes: each is one of its own attribute.
    for some in CHANGES.chunks(8) {
        let before = now.clone();
        for (from, to) in some {
            assert!(now.contains(from), "{from}");
            now = now.replace(from, to);
        }
        let plan = terraform.planned(&(head.clone() + &pool_of(&now)));
        assert_eq!(plan.actions(POOL), ["update"], "{before}");
        terraform.apply(&[]).unwrap().expect_success();
        terraform.assert_settled();
    }
    let changed = find();
    assert_eq!((changed.id.as_str(), changed.generation), (made.id.as_str(), 2));
    shown(&LEAVES, Case::Update);

    all_drifts(&kept, &terraform, &changed);
    assert_eq!(find().spec, changed.spec);

    let renamed = pool_of(&now).replace("name = \"k8s\"", "name = \"k9s\"");
    let plan = terraform.planned(&(head + &renamed));
    assert_eq!(plan.actions(POOL), ["delete", "create"]);
    terraform.apply(&[]).unwrap().expect_success();
    shown(&["name"], Case::Update);
    terraform.destroyed();
    assert!(host.machines().is_empty());
}

/// Attribute, what of [`FULL`] becomes what, and what is said of it.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("name", "", "", "cannot be a name"),
    ("ready", "ready = 1", "ready = 10001", "out of range"),
    ("max", "max = 7", "max = 0", "out of range"),
    (
        "max_in_flight",
        "max_in_flight = 3",
        "max_in_flight = 0",
        "out of range",
    ),
    (
        "strategy",
        "\"on_demand\"",
        "\"hot\"",
        "write one of warm, on_demand",
    ),
    (
        "recycle",
        "\"recreate\"",
        "\"wash\"",
        "write one of reset, recreate",
    ),
    (
        "on_destroy",
        "\"drain\"",
        "\"keep\"",
        "write one of refuse, drain, force",
    ),
    (
        "access",
        "\"claimer\"",
        "\"friends\"",
        "write one of open, claimer",
    ),
    (
        "claim_network.nic",
        "nic = \"own\"",
        "nic = \"other\"",
        "is no key of template.nics",
    ),
    (
        "claim_network.cidr",
        "10.78.0.0/24",
        "8.8.0.0/24",
        "is no private network",
    ),
    ("on_pause", "\"leave\"", "\"stop\"", "write one of suspend, leave"),
    (
        "keep_failed",
        "keep_failed = 2",
        "keep_failed = 101",
        "out of range",
    ),
    ("lease.default", "1h30m", "90", "is no duration"),
    ("lease.max", "4h", "4", "is no duration"),
    ("lease.idle", "15m", "15", "is no duration"),
    ("lease.pause", "\"10m\"", "\"10\"", "is no duration"),
    (
        "schedule.timezone",
        "Europe/Madrid",
        "Mars/Base",
        "is no time zone",
    ),
    ("schedule.days", "\"wed\"", "\"Wed\"", "is no day"),
    ("schedule.from", "\"08:00\"", "\"8\"", "is no time of day"),
    ("schedule.to", "\"12:00\"", "\"24:00\"", "is no time of day"),
    ("schedule.not_before", "2026-09-01", "2026-09-31", "is no date"),
    ("schedule.not_after", "2026-12-20", "20.12.2026", "is no date"),
    ("schedule.start", "2026-12-21T08:00", "tomorrow", "is no time"),
    ("schedule.end", "2026-12-21T12:00", "2026-12-21", "is no time"),
    (
        "schedule.warm_up",
        "\"30m\"",
        "\"half an hour\"",
        "is no duration",
    ),
    (
        "schedule.at_end",
        "\"cut_off\"",
        "\"bang\"",
        "write one of soft, cut_off",
    ),
    ("timeouts.create", "\"5m\"", "\"5\"", "is no duration"),
    ("timeouts.update", "\"6m\"", "\"6\"", "is no duration"),
    ("timeouts.delete", "\"7m\"", "\"7\"", "is no duration"),
];

#[test]
fn what_cannot_be_is_refused_at_its_attribute() {
    let (kept, host) = (Kept::sqlite(), Simulated::start());
    let terraform = Terraform::new().unwrap();
    let head = kept.provider("default", &host.hosts()) + &networks();
    for (attribute, from, to, said) in REFUSED {
        let text = match *attribute {
            "name" => pool_of(FULL).replace("name = \"k8s\"", "name = \"a pool\""),
            _ => {
                assert!(FULL.contains(from), "{from}");
                pool_of(&FULL.replace(from, to))
            }
        };
        let run = terraform
            .plan_of(&(head.clone() + &text))
            .run()
            .clone()
            .expect_failure();
        assert!(
            run.errors()[0].text().contains(said),
            "{attribute}: {}",
            run.text()
        );
        shown(&[attribute], Case::Refused);
    }
    for (from, to, said) in [
        ("ready = 1", "ready = 8", "ready = 8 is more than max = 7"),
        (
            "[\"lab1\"]",
            "[\"lab9\"]",
            "Host \"lab9\" is not in the provider's hosts",
        ),
        (
            "nics = { lan = { network = \"lab\" }, own = { network = \"idle\" } }, ready = { wait = \"none\" } }",
            "ready = { wait = \"address\" } }",
            "can never come true without a NIC",
        ),
        (
            "ready = { wait = \"none\" } }",
            "cpu = { model = \"host-passthrough\" } }",
            "template.cpu.model",
        ),
    ] {
        let run = terraform
            .plan_of(&(head.clone() + &pool_of(&FULL.replace(from, to))))
            .run()
            .clone()
            .expect_failure();
        assert_said(&run, said);
    }
    let without =
        "terraform {\n  required_providers {\n    labyard = { source = \"labyard/labyard\" }\n  }\n}\n"
            .to_owned()
            // Networks would be refused first: there is no host either.
            + &pool_of(&FULL.replace("\n  depends_on = [labyard_network.lab, labyard_network.idle]", ""));
    assert_said(
        &terraform.plan_of(&without).run().clone().expect_failure(),
        "Add store = ",
    );
}

#[test]
fn two_states_on_one_store_and_host_do_not_meet_on_postgresql_too() {
    let host = Simulated::start();
    for kept in [Some(Kept::sqlite()), Kept::postgres()].into_iter().flatten() {
        let (mut one, mut two) = (Terraform::new().unwrap(), Terraform::new().unwrap());
        let body = pool_of(&format!(
            "ready = 1\n  max = 2\n  recycle = \"recreate\"\n  {SMALL}"
        ));
        for (terraform, namespace) in [(&mut one, "one"), (&mut two, "two")] {
            terraform.env("LABYARD_STORE_KEY", KEY);
            terraform.applied(&(kept.provider(namespace, &host.hosts()) + &body));
            terraform.assert_settled();
        }
        assert_eq!(host.machines(), ["one.k8s-1", "two.k8s-1"]);
        let mut third = Terraform::new().unwrap();
        third.env("LABYARD_STORE_KEY", KEY);
        third
            .write("main.tf", &(kept.provider("one", &host.hosts()) + &body))
            .unwrap();
        assert_said(
            &third.apply(&[]).unwrap().expect_failure(),
            "terraform import ADDRESS k8s",
        );
        one.destroyed();
        assert_eq!(host.machines(), ["two.k8s-1"]);
        two.assert_settled();
        two.destroyed();
        assert!(host.machines().is_empty());
    }
}

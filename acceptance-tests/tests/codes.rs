//! Access codes with real Terraform on real stores: made, changed, drifted, healed, imported, handed on, taken away. They
//! need no hosts.

use labyard_acceptance_tests::kept::{KEY, Kept};
use labyard_acceptance_tests::proof::{Case, shows};
use labyard_acceptance_tests::terraform::Run;
use labyard_acceptance_tests::way::Way;
use labyard_acceptance_tests::{Terraform, both_ways, hcl};
use labyard_labs::Refusal;
use labyard_labs::code::keep::{Running, revoke};
use labyard_schema::access_code::AccessCode;
use serde_json::{Value, json};

both_ways!(
    a_code_is_made_as_written_imported_by_its_name_changed_in_place_and_healed_when_it_has_drifted,
    a_batch_grows_without_touching_the_old_and_says_what_it_revokes_when_it_shrinks,
    a_write_only_code_is_in_no_state_and_no_plan_and_changes_with_its_version,
    a_code_is_handed_to_other_configuration_by_an_ephemeral_resource_and_its_uses_are_read,
);

const CODE: &str = "labyard_access_code.class";
const FULL: &str = r#"pools = { k8s = { count = 2 } }
  max_uses = 30
  max_uses_per_user = 1
  not_before = "2026-01-01T08:00:00+02:00"
  not_after = "2099-12-20T12:00:00Z"
  lease = "1h30m"
  source_cidrs = ["10.0.0.0/8"]
  on_destroy = "end""#;

fn code(body: &str) -> String {
    hcl::resource("labyard_access_code", "class", body)
}

fn revoked_by_somebody(kept: &Kept, name: &str) {
    let (store, name) = (kept.open(), name.into());
    let done: Result<(), Refusal> = kept.wait(store.write(move |write| {
        revoke(
            write,
            &"default".into(),
            &name,
            Running::GoOn,
            labyard_acceptance_tests::kept::now(),
            "somebody",
        )
    }));
    done.unwrap();
}

fn text_of(terraform: &Terraform<'_>, label: &str) -> String {
    let codes = terraform.resource(CODE)["codes"].clone();
    codes[label].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_said(run: &Run, text: &str) {
    assert!(run.text().contains(text), "{text:?} is not in\n{}", run.text());
}

/// Somebody else changes all of a code: a plan sees each, and an apply heals each.
fn all_drifts_and_is_healed(kept: &Kept, terraform: &Terraform<'_>, leaves: &[&str]) {
    let other: AccessCode = serde_json::from_value(json!({
        "name": "class", "pools": { "k8s": { "count": 9 } }, "max_uses": 9, "max_uses_per_user": 9, "lease": "9h",
        "not_before": "2026-09-09T00:00:00Z", "not_after": "2099-09-09T00:00:00Z", "source_cidrs": ["192.0.2.0/24"],
        "code": "Robotics-999", "on_destroy": "end",
    }))
    .unwrap();
    kept.put_code("default", other);
    let plan = terraform.plan(&[]).unwrap().expect_success();
    let (before, after) = (&plan.change(CODE)["before"], &plan.change(CODE)["after"]);
    for leaf in leaves {
        let name = leaf.split('.').next().unwrap();
        assert_ne!(before[name], after[name], "{name}");
    }
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
}

fn a_code_is_made_as_written_imported_by_its_name_changed_in_place_and_healed_when_it_has_drifted(way: Way) {
    let kept = Kept::sqlite();
    let lab = way.to(&kept, "");
    let terraform = Terraform::new().unwrap();
    let head = lab.provider("default");
    let full = format!("{FULL}\n  code = \"Robotics-101\"");
    let plan = terraform.planned(&(head.clone() + &code(&full)));
    assert_eq!(plan.known(CODE, "/codes/main"), Some(&json!("Robotics-101")));
    let made = std::path::Path::new(&kept.place()).exists();
    assert_eq!(made, way == Way::Remote, "a plan makes no store");
    terraform.applied(&(head.clone() + &code(&full)));
    terraform.assert_settled();
    let made = kept.code("default", "class").unwrap();
    assert_eq!(made.terms.pools[&"k8s".into()], 2);
    assert_eq!(
        (made.terms.max_uses, made.terms.max_uses_per_user),
        (Some(30), Some(1))
    );
    assert_eq!(made.terms.lease_ms, Some(5_400_000));
    assert_eq!(made.terms.not_before.unwrap().0, 1_767_247_200_000);
    assert!(made.terms.not_after.is_some() && made.terms.sources.len() == 1);
    assert!(made.written.ends_claims);
    assert_eq!(terraform.resource(CODE)["id"], made.id);
    let leaves = [
        "pools.count",
        "max_uses",
        "max_uses_per_user",
        "not_before",
        "not_after",
        "lease",
        "source_cidrs",
        "on_destroy",
        "code",
    ];
    let paths: Vec<String> = leaves.map(|leaf| format!("labyard_access_code.{leaf}")).into();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let whole = [
        &paths[..],
        &[
            "labyard_access_code.name",
            "labyard_access_code.id",
            "labyard_access_code.codes",
        ],
    ]
    .concat();
    shows(&whole, Case::Create);
    terraform.take_up_as_written(CODE, "class");
    terraform.assert_settled();
    shows(&whole, Case::Import);

    // Each attribute changes in place, and the code stays the same one.
    let changes = [
        ("count = 2", "count = 1"),
        ("max_uses = 30", "max_uses = 20"),
        ("max_uses_per_user = 1", "max_uses_per_user = 2"),
        ("2026-01-01T08:00:00+02:00", "2026-01-02T08:00:00Z"),
        ("2099-12-20T12:00:00Z", "2099-12-21T12:00:00Z"),
        ("1h30m", "2h"),
        ("10.0.0.0/8", "10.0.0.0/9"),
        ("\"end\"", "\"keep\""),
        ("Robotics-101", "Robotics-102"),
    ];
    let mut now = full;
    for (from, to) in changes {
        assert!(now.contains(from), "{from}");
        now = now.replace(from, to);
        let plan = terraform.planned(&(head.clone() + &code(&now)));
        assert_eq!(plan.actions(CODE), ["update"], "{to}");
        terraform.apply(&[]).unwrap().expect_success();
        terraform.assert_settled();
    }
    let changed = kept.code("default", "class").unwrap();
    assert_eq!(
        (changed.id.as_str(), changed.terms.max_uses),
        (made.id.as_str(), Some(20))
    );
    assert_eq!(changed.texts()["main"].to_string(), "Robotics-102");
    shows(&paths, Case::Update);

    all_drifts_and_is_healed(&kept, &terraform, &leaves);
    assert_eq!(kept.code("default", "class").unwrap().terms, changed.terms);
    shows(&paths, Case::Drift);

    // Another name is another code.
    let renamed = code(&now).replace("name = \"class\"", "name = \"course\"");
    let plan = terraform.planned(&(head + &renamed));
    assert_eq!(plan.actions(CODE), ["delete", "create"]);
    terraform.apply(&[]).unwrap().expect_success();
    assert!(matches!(
        kept.code("default", "class"),
        Err(Refusal::NoCode { .. })
    ));
    shows(&["labyard_access_code.name"], Case::Update);
    terraform.destroyed();
    assert!(matches!(
        kept.code("default", "course"),
        Err(Refusal::NoCode { .. })
    ));
}

fn a_batch_grows_without_touching_the_old_and_says_what_it_revokes_when_it_shrinks(way: Way) {
    let kept = Kept::sqlite();
    let lab = way.to(&kept, "");
    let terraform = Terraform::new().unwrap();
    let config = |count: u32| {
        let body = format!("pools = {{ k8s = {{}} }}\n  batch = {count}");
        lab.provider("default")
            + &code(&body)
            + "output \"codes\" {\n  value = labyard_access_code.class.codes\n  sensitive = true\n}\n"
    };
    let plan = terraform.planned(&config(3));
    let planned: Vec<_> = plan.change(CODE)["after_unknown"]["codes"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(planned, ["001", "002", "003"]);
    terraform.applied(&config(3));
    terraform.assert_settled();
    let first = terraform.resource(CODE)["codes"].clone();
    terraform.take_up_as_written(CODE, "class");
    shows(&["labyard_access_code.batch"], Case::Create);
    shows(&["labyard_access_code.batch"], Case::Import);

    let plan = terraform.planned(&config(5));
    assert_eq!(plan.actions(CODE), ["update"]);
    assert_eq!(
        plan.known(CODE, "/codes/002"),
        Some(&first["002"]),
        "the old ones stay known"
    );
    let more = {
        terraform.applied(&config(5));
        terraform.resource(CODE)["codes"].clone()
    };
    assert_eq!(more.as_object().unwrap().len(), 5);
    assert!(
        ["001", "002", "003"]
            .iter()
            .all(|label| more[label] == first[label])
    );

    kept.pool_of_records("default", "k8s", 3);
    kept.redeem(more["004"].as_str().unwrap(), "ada").unwrap();
    let plan = terraform.planned(&config(3));
    assert_said(plan.run(), "Not taken any more: 004, 005. Used already: 004.");
    terraform.applied(&config(3));
    terraform.assert_settled();
    assert!(matches!(
        kept.redeem(more["005"].as_str().unwrap(), "bob"),
        Err(Refusal::UnknownCode)
    ));
    assert_eq!(kept.code("default", "class").unwrap().running(), 1);
    shows(&["labyard_access_code.batch"], Case::Update);

    // One that is revoked behind Terraform's back is made anew; the others stay.
    kept.sql("UPDATE code_values SET revoked_at = 1 WHERE label = '002'");
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.known(CODE, "/codes/001"), Some(&first["001"]));
    assert_eq!(plan.known(CODE, "/codes/002"), None);
    terraform.applied(&config(3));
    terraform.assert_settled();
    assert_ne!(text_of(&terraform, "002"), first["002"].as_str().unwrap());
    shows(&["labyard_access_code.batch"], Case::Drift);
    terraform.destroyed();
}

fn a_write_only_code_is_in_no_state_and_no_plan_and_changes_with_its_version(way: Way) {
    let kept = Kept::sqlite();
    let lab = way.to(&kept, "");
    kept.pool_of_records("default", "k8s", 5);
    let mut terraform = Terraform::new().unwrap();
    terraform.env("TF_VAR_code", "Sentinel-Q7-101");
    let config = |version: u32| {
        let body = format!("pools = {{ k8s = {{}} }}\n  code_wo = var.code\n  code_wo_version = {version}");
        lab.provider("default") + "variable \"code\" {\n  ephemeral = true\n}\n" + &code(&body)
    };
    let silent = |terraform: &Terraform<'_>| {
        let plan = std::fs::read(terraform.directory().join("plan.bin")).unwrap();
        assert!(!String::from_utf8_lossy(&plan).contains("Sentinel"));
        assert!(!terraform.state_text().contains("Sentinel") && !terraform.state_text().is_empty());
    };
    terraform.planned(&config(1));
    terraform.applied(&config(1));
    terraform.assert_settled();
    silent(&terraform);
    assert_eq!(terraform.resource(CODE)["codes"], json!({}));
    kept.redeem("sentinel q7 101", "ada").unwrap();
    terraform.take_up_as_written(CODE, "class");
    shows(
        &[
            "labyard_access_code.code_wo",
            "labyard_access_code.code_wo_version",
        ],
        Case::Create,
    );
    shows(&["labyard_access_code.code_wo_version"], Case::Import);

    // The text alone changes nothing; its version does.
    terraform.env("TF_VAR_code", "Sentinel-Q7-102");
    terraform.planned(&config(1)).expect_empty();
    let plan = terraform.planned(&config(2));
    assert_eq!(plan.actions(CODE), ["update"]);
    assert_said(plan.run(), "The code that people have now is not taken any more.");
    terraform.applied(&config(2));
    terraform.assert_settled();
    silent(&terraform);
    assert!(matches!(
        kept.redeem("Sentinel-Q7-101", "bob"),
        Err(Refusal::Revoked)
    ));
    kept.redeem("Sentinel-Q7-102", "bob").unwrap();
    shows(
        &[
            "labyard_access_code.code_wo",
            "labyard_access_code.code_wo_version",
        ],
        Case::Update,
    );

    // Revoked by somebody: the plan says so, and the apply makes it valid again.
    revoked_by_somebody(&kept, "class");
    let plan = terraform.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions(CODE), ["update"]);
    assert_said(plan.run(), "makes it valid again");
    terraform.apply(&[]).unwrap().expect_success();
    terraform.assert_settled();
    kept.redeem("Sentinel-Q7-102", "eve").unwrap();
    shows(&["labyard_access_code.code_wo_version"], Case::Drift);
    for bytes in kept.files() {
        let text = String::from_utf8_lossy(&bytes).to_uppercase();
        assert!(
            !text.contains("SENTINEL") && !text.contains("SENT1NE1"),
            "the store seals it"
        );
    }
}

fn a_code_is_handed_to_other_configuration_by_an_ephemeral_resource_and_its_uses_are_read(way: Way) {
    let kept = Kept::sqlite();
    let lab = way.to(&kept, "");
    kept.pool_of_records("default", "k8s", 5);
    let mut terraform = Terraform::new().unwrap();
    terraform.env("TF_VAR_code", "Sentinel-Q7-101");
    let other = hcl::resource(
        "labyard_access_code",
        "other",
        "pools = { k8s = {} }\n  code_wo = \"${ephemeral.labyard_access_code.class.codes[\"main\"]}-more\"\n  code_wo_version = 1",
    );
    let config = lab.provider("default")
        + "variable \"code\" {\n  ephemeral = true\n}\n"
        + &code("pools = { k8s = {} }\n  code_wo = var.code\n  code_wo_version = 1")
        + "ephemeral \"labyard_access_code\" \"class\" {\n  name = labyard_access_code.class.name\n  id = labyard_access_code.class.id\n}\n"
        + &other
        + "data \"labyard_access_code\" \"class\" {\n  name = labyard_access_code.class.name\n}\n\
           output \"uses\" {\n  value = data.labyard_access_code.class\n}\n";
    terraform.applied(&config);
    terraform.assert_settled();
    assert!(!terraform.state_text().contains("Sentinel"));
    kept.redeem("Sentinel-Q7-101-more", "ada").unwrap();
    kept.redeem("Sentinel-Q7-101", "ada").unwrap();
    terraform.apply(&["-refresh-only"]).unwrap().expect_success();
    let state = terraform.state().unwrap();
    let read = &state["values"]["outputs"]["uses"]["value"];
    assert_eq!(
        (&read["uses"], &read["claims"]),
        (&json!(1), &json!({ "bound": 1 }))
    );
    assert_eq!(read["codes"]["main"]["revoked"], json!(false));
    let none = lab.provider("default") + "data \"labyard_access_code\" \"none\" {\n  name = \"none\"\n}\n";
    let refused = Terraform::new()
        .unwrap()
        .plan_of(&none)
        .run()
        .clone()
        .expect_failure();
    assert_said(&refused, "There is no access code none in namespace default.");

    // Whoever takes the code away is told of the claims that go on.
    let plan = terraform.plan(&["-destroy"]).unwrap().expect_success();
    assert_said(plan.run(), "1 claims go on to their end: on_destroy is \"keep\"");
    terraform.destroyed();
}

#[test]
fn what_cannot_be_is_refused_at_its_attribute() {
    let kept = Kept::sqlite();
    let terraform = Terraform::new().unwrap();
    for (attribute, body, said) in [
        ("name", "pools = { k8s = {} }", "cannot be a name"),
        (
            "pools.count",
            "pools = { k8s = { count = 0 } }",
            "0 is out of range",
        ),
        (
            "max_uses",
            "pools = { k8s = {} }\n  max_uses = 0",
            "0 is out of range",
        ),
        (
            "max_uses_per_user",
            "pools = { k8s = {} }\n  max_uses_per_user = 0",
            "0 is out of range",
        ),
        (
            "not_before",
            "pools = { k8s = {} }\n  not_before = \"tomorrow\"",
            "is no moment",
        ),
        (
            "not_after",
            "pools = { k8s = {} }\n  not_after = \"2026-01-01\"",
            "is no moment",
        ),
        ("lease", "pools = { k8s = {} }\n  lease = \"2\"", "is no duration"),
        (
            "source_cidrs",
            "pools = { k8s = {} }\n  source_cidrs = [\"10.0.0.1/8\"]",
            "names an address, not a network",
        ),
        (
            "code",
            "pools = { k8s = {} }\n  code = \"R2\"",
            "6 to 128 letters and digits",
        ),
        ("batch", "pools = { k8s = {} }\n  batch = 0", "0 is out of range"),
        (
            "on_destroy",
            "pools = { k8s = {} }\n  on_destroy = \"drain\"",
            "write one of keep, end",
        ),
    ] {
        let text = match attribute {
            "name" => code(body).replace("name = \"class\"", "name = \"a class\""),
            _ => code(body),
        };
        let run = terraform
            .plan_of(&(kept.provider("default", "") + &text))
            .run()
            .clone()
            .expect_failure();
        let error = &run.errors()[0];
        assert!(error.text().contains(said), "{attribute}: {}", run.text());
        let name = attribute.split('.').next().unwrap();
        assert!(
            error.snippet.as_ref().is_some_and(|line| line.contains(name)),
            "{attribute}: {error:?}"
        );
        shows(&[&format!("labyard_access_code.{attribute}")], Case::Refused);
    }
    for (body, said) in [
        (
            "pools = { k8s = {} }\n  code = \"ROBOTICS\"\n  batch = 2",
            "code and batch are set",
        ),
        ("pools = {}", "A code grants machines of at least one pool"),
        (
            "pools = { k8s = {} }\n  not_before = \"2026-01-02T00:00:00Z\"\n  not_after = \"2026-01-01T00:00:00Z\"",
            "could never be used",
        ),
    ] {
        let run = terraform
            .plan_of(&(kept.provider("default", "") + &code(body)))
            .run()
            .clone()
            .expect_failure();
        assert_said(&run, said);
    }
}

#[test]
fn a_store_is_needed_and_another_or_an_empty_one_is_never_taken_for_all_gone() {
    let (kept, other) = (Kept::sqlite(), Kept::sqlite());
    let terraform = Terraform::new().unwrap();
    let body = code("pools = { k8s = {} }");
    let none =
        "terraform {\n  required_providers {\n    labyard = { source = \"labyard/labyard\" }\n  }\n}\n"
            .to_owned();
    let run = terraform
        .plan_of(&(none.clone() + &body))
        .run()
        .clone()
        .expect_failure();
    assert_said(&run, "the provider block names none. Add store = ");
    let relative = none + "provider \"labyard\" {\n  store = \"labyard.db\"\n}\n";
    let run = terraform
        .plan_of(&(relative + &body))
        .run()
        .clone()
        .expect_failure();
    assert_said(&run, "it is no absolute path");

    terraform.applied(&(kept.provider("default", "") + &body));
    let state = terraform.state_text();
    for (when, make) in [("empty", false), ("another", true)] {
        if make {
            drop(other.open());
        }
        let run = terraform
            .plan_of(&(other.provider("default", "") + &body))
            .run()
            .clone()
            .expect_failure();
        assert_said(&run, "Not the store of this state");
        for command in [
            &["apply", "-auto-approve", "-json"][..],
            &["destroy", "-auto-approve", "-json"],
            &["destroy", "-refresh=false", "-auto-approve", "-json"],
        ] {
            let run = terraform.run(command).unwrap().expect_failure();
            assert_said(&run, "Nothing is taken for gone");
        }
        assert_eq!(terraform.state_text(), state, "{when}");
    }
    // A key that is gone is said, and none is made up in its place.
    let key = format!("{}.key", kept.place());
    let aside = format!("{key}.aside");
    std::fs::rename(&key, &aside).unwrap();
    let run = terraform
        .plan_of(&(kept.provider("default", "") + &body))
        .run()
        .clone()
        .expect_failure();
    assert_said(&run, "put that file back");
    let with_key = kept.provider("default", &format!("store_key_file = {aside:?}"));
    terraform.planned(&(with_key + &body)).expect_empty();
    std::fs::rename(&aside, &key).unwrap();

    // Only read: drift is told, an apply is refused.
    let read_only = kept.provider("default", "read_only = true");
    terraform.planned(&(read_only.clone() + &body)).expect_empty();
    terraform.planned(&(read_only + &code("pools = { k8s = {} }\n  max_uses = 3")));
    let run = terraform.apply(&[]).unwrap().expect_failure();
    assert_said(&run, "Provider is read only");
    terraform.applied(&(kept.provider("default", "") + &body));
    terraform.destroyed();
}

#[test]
fn two_states_on_one_store_do_not_meet_and_a_name_is_taken_once_in_a_namespace() {
    let kept = Kept::sqlite();
    let (one, two, third) = (
        Terraform::new().unwrap(),
        Terraform::new().unwrap(),
        Terraform::new().unwrap(),
    );
    let body = code("pools = { k8s = {} }");
    one.applied(&(kept.provider("one", "") + &body));
    two.applied(&(kept.provider("two", "") + &body));
    assert_ne!(text_of(&one, "main"), text_of(&two, "main"));
    third
        .write("main.tf", &(kept.provider("one", "") + &body))
        .unwrap();
    let run = third.apply(&[]).unwrap().expect_failure();
    assert_said(&run, "terraform import ADDRESS class");
    // A text is somebody's whatever the namespace: it is refused at its attribute, and is not in the error.
    let text = text_of(&one, "main");
    third
        .write(
            "main.tf",
            &(kept.provider("three", "") + &code(&format!("pools = {{ k8s = {{}} }}\n  code = {text:?}"))),
        )
        .unwrap();
    let run = third.apply(&[]).unwrap().expect_failure();
    assert_said(&run, "another code's already");
    two.destroyed();
    one.assert_settled();
    // Deleted by somebody it is made anew; deleted and made anew by somebody it is theirs.
    kept.sql("DELETE FROM code_values; DELETE FROM codes;");
    let plan = one.plan(&[]).unwrap().expect_success();
    assert_eq!(plan.actions(CODE), ["create"]);
    kept.put_code(
        "one",
        serde_json::from_value(json!({ "name": "class", "pools": { "k8s": { "count": 1 } } })).unwrap(),
    );
    let run = one.plan(&[]).unwrap().run().clone().expect_failure();
    assert_said(&run, "made anew by somebody else");
    one.take_up(CODE, "class");
    one.planned(&(kept.provider("one", "") + &body));
    one.destroyed();
}

#[test]
fn codes_are_kept_in_postgresql_as_in_a_file() {
    let Some(kept) = Kept::postgres() else { return };
    let mut terraform = Terraform::new().unwrap();
    let body = code(&format!("{FULL}\n  code = \"Robotics-101\""));
    let config = kept.provider("default", "") + &body;
    let run = terraform.plan_of(&config).run().clone().expect_failure();
    assert_said(&run, "openssl rand -base64 32");
    terraform.env("LABYARD_STORE_KEY", KEY);
    terraform.applied(&config);
    terraform.assert_settled();
    terraform.take_up_as_written(CODE, "class");
    kept.pool_of_records("default", "k8s", 3);
    kept.redeem("robotics 101", "ada").unwrap();
    let changed = config.replace("max_uses = 30", "max_uses = 29");
    terraform.applied(&changed);
    terraform.assert_settled();
    let plan = terraform.plan(&["-destroy"]).unwrap().expect_success();
    assert_said(plan.run(), "1 claims end with it");
    terraform.destroyed();
    let left: Value = json!(kept.sql("SELECT phase FROM claims"));
    assert_eq!(left, json!("released"));
}

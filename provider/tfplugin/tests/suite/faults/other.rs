//! Faults of validation, configuration, state upgrade and data sources.

use serde_json::json;

use super::{APPLY, After, Case, FULL, MINIMAL};
use crate::support::terraform::Terraform;

#[test]
fn an_error_at_validation_points_into_a_nested_attribute() {
    let case = Case {
        command: &["validate", "-no-color"],
        ..Case::create("validate_fails")
    };
    case.ours().fails(&[
        "Error: Disk too small",
        "At least 10 GiB are needed.",
        "disks = { root = { size_gib",
    ]);
}

#[test]
fn a_panic_at_validation_is_an_error() {
    let case = Case {
        command: &["validate", "-no-color"],
        ..Case::create("validate_panics")
    };
    case.ours()
        .fails(&["Error: The provider panicked", "validate fell over \"a\""]);
}

#[test]
fn an_error_or_panic_at_configuration_ends_the_run() {
    Case::create("configure_fails")
        .ours()
        .fails(&["Error: No connection"])
        .leaves(After::Nothing);
    Case::create("configure_panics")
        .ours()
        .fails(&["configure fell over"])
        .leaves(After::Nothing);
}

#[test]
fn an_error_in_the_provider_block_points_at_it() {
    let config = "provider \"faulty\" {\n region = \"nowhere\"\n}\ndata \"faulty_reading\" \"r\" {\n name = \"a\"\n}\n";
    let terraform = Terraform::with_config(config);
    let seen = terraform.run(&["validate", "-no-color"], &[]);
    assert!(seen.text.contains("Error: No such region"), "{}", seen.text);
    assert!(seen.text.contains("region = \"nowhere\""), "{}", seen.text);
}

fn upgrade(fault: &str, version: i64, attributes: &serde_json::Value) -> (Terraform, String) {
    let terraform = Terraform::with_thing(MINIMAL);
    terraform.given(version, attributes);
    let seen = terraform.run(&["plan", "-no-color"], &[("FAULTY", fault)]);
    (terraform, seen.text)
}

#[test]
fn a_state_of_an_older_version_is_upgraded_and_what_is_gone_from_the_schema_dropped() {
    let (_, text) = upgrade(
        "none",
        1,
        &json!({ "title": "a", "mode": "auto", "id": "id-1", "colour": "red" }),
    );
    assert!(text.contains("No changes."), "{text}");
}

#[test]
fn a_state_that_cannot_be_upgraded_is_an_error() {
    let (_, text) = upgrade("upgrade_fails", 1, &json!({ "id": "id-1" }));
    assert!(
        text.contains("Error: The stored state cannot be upgraded"),
        "{text}"
    );
    assert!(
        text.contains("From version 1 to 2: version 1 had no name"),
        "{text}"
    );
    let (_, text) = upgrade("upgrade_panics", 1, &json!({ "id": "id-1" }));
    assert!(text.contains("upgrade fell over"), "{text}");
}

#[test]
fn a_state_of_a_newer_version_is_an_error() {
    let (terraform, text) = upgrade("none", 3, &json!({ "id": "id-1", "name": "a" }));
    assert!(text.contains("Error: "), "{text}");
    assert!(terraform.instance().is_some());
}

fn data(fault: &str, self_check: &str) -> (i32, String) {
    let config = "data \"faulty_reading\" \"r\" {\n name = \"a\"\n}\noutput \"v\" {\n value = data.faulty_reading.r.value\n}\n";
    let terraform = Terraform::with_config(config);
    let seen = terraform.run(APPLY, &[("FAULTY", fault), ("FAULTY_SELF_CHECK", self_check)]);
    (seen.code, seen.text)
}

#[test]
fn a_data_source_is_read() {
    let (code, text) = data("none", "on");
    assert!(code == 0 && text.contains("v = 42"), "{text}");
}

#[test]
fn faults_of_a_data_source_are_errors() {
    for (fault, says) in [
        ("data_finds_nothing", "Error: No data"),
        ("data_leaves_unknown", "value: the value is still unknown"),
        ("data_fails", "Error: No connection"),
        ("data_panics", "reading fell over"),
    ] {
        let (code, text) = data(fault, "on");
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(says), "{says}\n\n{text}");
    }
    let (code, text) = data("data_leaves_unknown", "off");
    assert!(code == 1 && text.contains("that is not wholly known"), "{text}");
}

#[test]
fn terraform_understands_the_schema() {
    let terraform = Terraform::with_thing(FULL);
    let seen = terraform.run(&["providers", "schema", "-json"], &[]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    let schema: serde_json::Value = serde_json::from_str(&seen.text).expect("JSON");
    let provider = &schema["provider_schemas"]["registry.terraform.io/labyard/faulty"];
    let thing = &provider["resource_schemas"]["faulty_thing"];
    assert_eq!(thing["version"], 2);
    let attributes = &thing["block"]["attributes"];
    assert_eq!(attributes["tags"]["type"], json!(["set", "string"]));
    assert_eq!(
        attributes["mode"],
        json!({ "type": "string", "description_kind": "markdown", "optional": true, "computed": true })
    );
    assert_eq!(attributes["secret_wo"]["write_only"], true);
    assert_eq!(attributes["disks"]["nested_type"]["nesting_mode"], "map");
    assert_eq!(
        provider["data_source_schemas"]["faulty_reading"]["block"]["attributes"]["name"]["required"],
        true
    );
}

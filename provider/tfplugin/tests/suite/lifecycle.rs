//! Without a fault: what the server plans by the schema alone is what Terraform accepts, and a plan after apply
//! is empty.

use serde_json::json;

use crate::support::terraform::{Outcome, Terraform};

const APPLY: &[&str] = &["apply", "-auto-approve", "-no-color"];

fn apply(terraform: &Terraform) -> Outcome {
    let seen = terraform.run(APPLY, &[]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    let again = terraform.run(&["plan", "-no-color", "-detailed-exitcode"], &[]);
    assert_eq!(again.code, 0, "a plan after apply is not empty: {}", again.text);
    seen
}

fn attribute(terraform: &Terraform, name: &str) -> serde_json::Value {
    terraform.instance().expect("an object").attributes[name].clone()
}

#[test]
fn an_update_in_place_leaves_the_id_known() {
    let terraform = Terraform::with_thing("name = \"a\"\nsize = 1");
    apply(&terraform);
    terraform.rewrite("size = 1", "size = 2");
    let seen = apply(&terraform);
    assert!(seen.text.contains("~ size = 1 -> 2"), "{}", seen.text);
    assert!(!seen.text.contains("(known after apply)"), "{}", seen.text);
}

#[test]
fn a_change_of_what_requires_replacement_replaces() {
    let terraform = Terraform::with_thing("name = \"a\"\nzone = \"north\"");
    apply(&terraform);
    terraform.rewrite("north", "south");
    let seen = apply(&terraform);
    assert!(seen.text.contains("must be replaced"), "{}", seen.text);
    assert!(seen.text.contains("# forces replacement"), "{}", seen.text);
    assert_eq!(attribute(&terraform, "zone"), "south");
}

#[test]
fn what_is_to_be_replaced_can_be_created_first() {
    let terraform = Terraform::with_thing(
        "name = \"a\"\nzone = \"north\"\nlifecycle {\n create_before_destroy = true\n}",
    );
    apply(&terraform);
    terraform.rewrite("north", "south");
    let seen = apply(&terraform);
    assert!(
        seen.text.contains("1 added, 0 changed, 1 destroyed"),
        "{}",
        seen.text
    );
}

#[test]
fn a_tainted_object_is_replaced() {
    let terraform = Terraform::with_thing("name = \"a\"");
    apply(&terraform);
    assert_eq!(
        terraform.run(&["taint", "-no-color", "faulty_thing.a"], &[]).code,
        0
    );
    let seen = apply(&terraform);
    assert!(
        seen.text.contains("is tainted, so must be replaced"),
        "{}",
        seen.text
    );
}

#[test]
fn a_default_inside_a_map_is_planned_for_each_element() {
    let terraform = Terraform::with_thing("name = \"a\"\ndisks = {\n root = { size_gib = 10 }\n}");
    apply(&terraform);
    terraform.rewrite("root = {", "data = { size_gib = 5, bus = \"scsi\" }\n root = {");
    apply(&terraform);
    let disks = attribute(&terraform, "disks");
    assert_eq!(
        disks,
        json!({ "root": { "size_gib": 10, "bus": "virtio" }, "data": { "size_gib": 5, "bus": "scsi" } })
    );
    // Taken away again, the default stands where the wish stood.
    terraform.rewrite(", bus = \"scsi\"", "");
    let seen = apply(&terraform);
    assert!(seen.text.contains("\"scsi\" -> \"virtio\""), "{}", seen.text);
}

#[test]
fn values_of_another_resource_may_be_unknown_at_plan() {
    let config = "resource \"terraform_data\" \"t\" {\n input = \"late\"\n}\n\
        resource \"faulty_thing\" \"a\" {\n name = terraform_data.t.output\n size = length(terraform_data.t.id)\n \
        tags = [terraform_data.t.id]\n disks = { root = { size_gib = length(terraform_data.t.id) } }\n}\n";
    let terraform = Terraform::with_config(config);
    let seen = terraform.run(APPLY, &[]);
    assert_eq!(seen.code, 0, "{}", seen.text);
    let name = terraform.read("terraform.tfstate").expect("a state");
    assert!(
        name.contains("\"name\": \"late\"") && name.contains("\"bus\": \"virtio\""),
        "{name}"
    );
    let again = terraform.run(&["plan", "-no-color", "-detailed-exitcode"], &[]);
    assert_eq!(again.code, 0, "{}", again.text);
}

#[test]
fn numbers_keep_every_digit() {
    for number in [
        "123456789012345678901234567890",
        "0.1",
        "1e100",
        "-9223372036854775809",
        "3.0",
    ] {
        let terraform = Terraform::with_thing(&format!("name = \"a\"\nsize = {number}"));
        apply(&terraform);
    }
}

#[test]
fn a_write_only_value_reaches_the_provider_and_nothing_else() {
    let terraform = Terraform::with_thing("name = \"a\"\nsecret_wo = \"hunter2\"");
    let seen = apply(&terraform);
    assert!(seen.text.contains("(write-only attribute)"), "{}", seen.text);
    assert!(
        !terraform
            .read("terraform.tfstate")
            .expect("a state")
            .contains("hunter2")
    );
}

#[test]
fn empty_and_absent_collections_stay_what_they_are() {
    let terraform = Terraform::with_thing("name = \"a\"\ntags = []\ndisks = {}");
    apply(&terraform);
    assert_eq!(attribute(&terraform, "tags"), json!([]));
    assert_eq!(attribute(&terraform, "disks"), json!({}));
    assert_eq!(attribute(&terraform, "hosts"), json!(null));
    terraform.rewrite("tags = []", "");
    apply(&terraform);
    assert_eq!(attribute(&terraform, "tags"), json!(null));
}

#[test]
fn a_hundred_resources_are_made_and_removed() {
    let config = "resource \"faulty_thing\" \"a\" {\n count = 100\n name = \"n${count.index}\"\n}\n";
    let terraform = Terraform::with_config(config);
    let seen = apply(&terraform);
    assert!(seen.text.contains("100 added"), "{}", seen.text);
    let seen = terraform.run(&["destroy", "-auto-approve", "-no-color"], &[]);
    assert!(seen.text.contains("100 destroyed"), "{}", seen.text);
}

//! A report in the forms that people and programs read: one file a form.

mod json;
mod junit;
mod markdown;
mod sarif;
mod text;

use super::compare::{Difference, Shown};
use super::report::Report;
use super::source::Sources;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For a terminal.
    Text,
    /// For a comment on a pull request.
    Markdown,
    /// For programs.
    Json,
    /// Test results, as CI systems show them.
    Junit,
    /// SARIF 2.1.0, as code scanning shows it.
    Sarif,
}

/// The report in a form. `sources` tells where a resource stands in the configuration.
pub(crate) fn render(report: &Report, format: Format, sources: &Sources) -> String {
    match format {
        Format::Text => text::render(report),
        Format::Markdown => markdown::render(report),
        Format::Json => json::render(report),
        Format::Junit => junit::render(report),
        Format::Sarif => sarif::render(report, sources),
    }
}

/// A value in one line.
fn show(value: &Shown) -> String {
    match value {
        Shown::Absent => "(none)".to_owned(),
        Shown::Value(value) => value.to_string(),
        Shown::Sensitive => "(sensitive)".to_owned(),
        Shown::Unknown => "(known after apply)".to_owned(),
    }
}

/// `path: from -> to` in one line.
fn line(difference: &Difference) -> String {
    let path = if difference.path.is_empty() {
        "(whole)"
    } else {
        &difference.path
    };
    match (&difference.from, &difference.to) {
        (Shown::Sensitive, Shown::Sensitive) => format!("{path}: (sensitive) changed"),
        (from, to) => format!("{path}: {} -> {}", show(from), show(to)),
    }
}

/// Two texts of several lines as a unified diff; `None` where one line says it.
fn unified(difference: &Difference) -> Option<String> {
    let text = |shown: &Shown| match shown {
        Shown::Value(serde_json::Value::String(text)) => Some(text.clone()),
        Shown::Absent => Some(String::new()),
        Shown::Value(_) | Shown::Sensitive | Shown::Unknown => None,
    };
    let (from, to) = (text(&difference.from)?, text(&difference.to)?);
    if !from.trim_end().contains('\n') && !to.trim_end().contains('\n') {
        return None;
    }
    let diff = similar::TextDiff::from_lines(&from, &to);
    Some(diff.unified_diff().context_radius(2).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::drift::log::Entry;
    use crate::drift::plan::Plan;

    fn report() -> Report {
        let drift = json!([
            {"address": "labyard_vm.web", "type": "labyard_vm", "name": "web", "change": {"actions": ["update"],
                "before": {"name": "web", "power": "running", "cloud_init": {"user_data": "a\nb\nc\n"}, "key": "s1"},
                "after": {"name": "web", "power": "stopped", "cloud_init": {"user_data": "a\nx|y\nc\n"}, "key": "s2"},
                "before_sensitive": {"key": true}, "after_sensitive": {"key": true}}},
            {"address": "labyard_network.lab[\"a<b\"]", "type": "labyard_network", "name": "lab",
                "change": {"actions": ["delete"], "before": {"name": "lab"}, "after": null}}]);
        let plan = json!({"format_version": "1.2", "resource_drift": drift, "prior_state": {"values":
            {"root_module": {"resources": [{"address": "labyard_vm.db"}]}}}});
        let mut report = Report::of(&Plan::parse(plan.to_string().as_bytes()).unwrap());
        let who = Some("alice".to_owned());
        report.objects[1].log = vec![Entry {
            who,
            line: "virsh destroy web".into(),
        }];
        report
    }

    fn of(format: Format) -> String {
        render(&report(), format, &Sources::default())
    }

    #[test]
    fn a_person_reads_what_changed_by_whom_and_how_many_did_not() {
        let text = of(Format::Text);
        for part in [
            "labyard_vm.web: changed outside of Terraform",
            "power: \"running\" -> \"stopped\"",
            "-b\n",
            "+x|y\n",
            "key: (sensitive) changed",
            "by alice: virsh destroy web",
            "labyard_network.lab[\"a<b\"]: gone from its host",
            "2 objects changed outside of Terraform, 0 otherwise not as configured, 1 as configured.",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("s1") && !text.contains("s2"), "{text}");
    }

    #[test]
    fn markdown_keeps_what_would_break_its_tables_inside_of_code() {
        let text = of(Format::Markdown);
        assert!(text.contains("```diff"), "{text}");
        assert!(
            text.contains("| `power` | `\"running\"` | `\"stopped\"` |"),
            "{text}"
        );
        assert!(text.starts_with("### Drift: 2 objects"), "{text}");
    }

    #[test]
    fn junit_has_a_case_for_every_object_and_escapes_its_text() {
        let text = of(Format::Junit);
        assert!(text.contains("tests=\"3\" failures=\"2\""), "{text}");
        assert!(text.contains("labyard_network.lab[&quot;a&lt;b&quot;]"), "{text}");
        assert!(!text.contains("a<b"), "{text}");
    }

    #[test]
    fn programs_get_paths_values_and_whether_they_are_secret() {
        let json: serde_json::Value = serde_json::from_str(&of(Format::Json)).unwrap();
        assert_eq!(json["drifted"], 2);
        let changes = json["objects"][1]["outside"]["changes"].as_array().unwrap();
        let key = changes.iter().find(|c| c["path"] == "key").unwrap();
        assert_eq!(key["from"], json!({"sensitive": true}));
        let power = changes.iter().find(|c| c["path"] == "power").unwrap();
        assert_eq!(power["to"], json!({"value": "stopped"}));
    }

    #[test]
    fn sarif_names_the_object_and_the_place_in_the_configuration() {
        let mut sources = Sources::default();
        sources.add("lab/main.tf", "\nresource \"labyard_vm\" \"web\" {\n");
        let json: serde_json::Value =
            serde_json::from_str(&render(&report(), Format::Sarif, &sources)).unwrap();
        assert_eq!(json["version"], "2.1.0");
        let web = &json["runs"][0]["results"][1];
        let place = &web["locations"][0];
        assert_eq!(
            place["logicalLocations"][0]["fullyQualifiedName"],
            "labyard_vm.web"
        );
        assert_eq!(
            place["physicalLocation"]["artifactLocation"]["uri"],
            "lab/main.tf"
        );
        assert_eq!(place["physicalLocation"]["region"]["startLine"], 2);
    }
}

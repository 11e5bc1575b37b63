//! Test results: every object is a case, and one that differs has failed.

use std::fmt::Write as _;

use super::{line, unified};
use crate::drift::report::{Object, Report};

pub(super) fn render(report: &Report) -> String {
    let (failures, tests) = (
        report.objects.len(),
        report.objects.len() + report.unchanged.len(),
    );
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"labyard drift\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"0\">\n"
    );
    for object in &report.objects {
        let (class, name) = (escaped(&object.kind), escaped(&object.address));
        let (message, body) = (escaped(&object.headline()), escaped(&body(object)));
        let _ = writeln!(
            out,
            "    <testcase classname=\"{class}\" name=\"{name}\"><failure type=\"drift\" message=\"{message}\">{body}</failure></testcase>"
        );
    }
    for address in &report.unchanged {
        let class = escaped(kind(address));
        let _ = writeln!(
            out,
            "    <testcase classname=\"{class}\" name=\"{}\"/>",
            escaped(address)
        );
    }
    out + "  </testsuite>\n</testsuites>\n"
}

/// The type in `module.lab["a.b"].labyard_vm.web["c"]`.
fn kind(address: &str) -> &str {
    let mut rest = address;
    while let Some(inner) = rest.strip_prefix("module.") {
        let name = inner.find(['.', '[']).unwrap_or(inner.len());
        rest = &inner[name..];
        if let Some(key) = rest.strip_prefix('[') {
            rest = match key.strip_prefix('"') {
                Some(text) => text.find("\"]").map_or("", |end| &text[end + 2..]),
                None => key.find(']').map_or("", |end| &key[end + 1..]),
            };
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    rest.split('.').next().unwrap_or(rest)
}

fn body(object: &Object) -> String {
    let all = object.changed().iter().chain(object.beyond_taking_back());
    let differences = all.map(|d| unified(d).map_or_else(|| line(d), |diff| format!("{}:\n{diff}", d.path)));
    let log = object.log.iter().map(|entry| {
        let who = entry
            .who
            .as_ref()
            .map(|who| format!("by {who}: "))
            .unwrap_or_default();
        format!("{who}{}", entry.line)
    });
    differences.chain(log).collect::<Vec<_>>().join("\n")
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            // XML 1.0 has no way to write these.
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_found_behind_modules_and_their_keys() {
        for (address, expected) in [
            ("labyard_vm.web", "labyard_vm"),
            ("labyard_vm.web[\"a.b\"]", "labyard_vm"),
            ("module.lab.labyard_vm.web[0]", "labyard_vm"),
            (
                "module.lab[\"x.y\"].module.n[3].labyard_network.n",
                "labyard_network",
            ),
        ] {
            assert_eq!(kind(address), expected, "{address}");
        }
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(escaped("a\u{1b}[31m<&\">"), "a\u{fffd}[31m&lt;&amp;&quot;&gt;");
    }
}

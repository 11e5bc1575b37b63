//! ifupdown: a file of ours with all cards, and no word of the same cards anywhere else.

use std::path::Path;

use super::super::act::{Act, File, Program};
use super::super::facts::{Ifupdown, Presence};
use super::{CannotPlan, Card};

const MAIN: &str = "/etc/network/interfaces";
const OURS: &str = "/etc/network/interfaces.d/labyard";
const SOURCE: &str = "source /etc/network/interfaces.d/*";
const RESOLVER: &str = "/etc/resolv.conf";
/// What a line is begun with that shall not count any more.
const OUT: &str = "# labyard: ";

pub(super) fn acts(cards: &[Card<'_>], has: &Ifupdown) -> Result<Vec<Act>, CannotPlan> {
    if let Some(card) = cards
        .iter()
        .find(|card| card.ipv4.is_none() && !card.servers.is_empty())
    {
        return Err(CannotPlan::ServersBesideDhcp(card.name.clone()));
    }
    let names: Vec<_> = cards.iter().map(|card| card.name.as_str()).collect();
    let others = has.files.iter().filter(|(path, _)| path.as_str() != OURS);
    let mut acts: Vec<_> = others
        .filter_map(|(path, text)| {
            let new = match path == MAIN {
                true => sourcing(&without(text, &names)),
                false => without(text, &names),
            };
            (new != *text).then(|| file(path, new))
        })
        .collect();
    let ours: Vec<_> = cards.iter().map(stanza).collect();
    acts.push(file(OURS, format!("# Made by labyard.\n{}", ours.join("\n"))));
    // Without a program that collects them, name servers stand in one file for all cards.
    if has.resolver == Presence::Missing
        && let Some(text) = resolver(&cards[0])
    {
        acts.push(file(RESOLVER, text));
    }
    for name in names {
        let run = |name: &'static str, arguments: &[&str]| Program::new(name, arguments).live();
        acts.push(Act::Run(run("ifdown", &["--force", name]).may_fail()));
        acts.push(Act::Run(run("ip", &["address", "flush", "dev", name]).may_fail()));
        acts.push(Act::Run(run("ifup", &[name])));
    }
    Ok(acts)
}

fn file(path: &str, text: String) -> Act {
    Act::Write(File {
        path: Path::new(path).into(),
        text,
        mode: 0o644,
    })
}

fn stanza(card: &Card<'_>) -> String {
    let name = &card.name;
    let Some(fixed) = &card.ipv4 else {
        return format!("auto {name}\niface {name} inet dhcp\n");
    };
    let mut text = format!(
        "auto {name}\niface {name} inet static\n    address {}\n",
        fixed.address
    );
    let mut line = |what: &str, value: &str| text.push_str(&format!("    {what} {value}\n"));
    if let Some(gateway) = fixed.gateway {
        line("gateway", &gateway.to_string());
    }
    if !card.servers.is_empty() {
        let servers: Vec<_> = card.servers.iter().map(ToString::to_string).collect();
        line("dns-nameservers", &servers.join(" "));
    }
    if let Some(suffix) = card.suffix {
        line("dns-search", suffix);
    }
    text
}

fn resolver(card: &Card<'_>) -> Option<String> {
    if card.servers.is_empty() {
        return None;
    }
    let search = card.suffix.map(|suffix| format!("search {suffix}\n"));
    let servers = card.servers.iter().map(|server| format!("nameserver {server}\n"));
    let head = "# Made by labyard.\n".to_owned();
    Some([head].into_iter().chain(search).chain(servers).collect())
}

/// A file in which what it said of these cards does not count any more.
fn without(text: &str, names: &[&str]) -> String {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["iface" | "mapping", name, ..] => {
                inside = names.contains(name);
                lines.push(out_if(inside, line));
            }
            [starts @ ("auto" | "allow-auto" | "allow-hotplug"), rest @ ..] => {
                inside = false;
                let stay: Vec<_> = rest
                    .iter()
                    .copied()
                    .filter(|name| !names.contains(name))
                    .collect();
                match (stay.len() == rest.len(), stay.is_empty()) {
                    (true, _) => lines.push(line.to_owned()),
                    (false, true) => lines.push(format!("{OUT}{line}")),
                    (false, false) => lines.push(format!("{starts} {}", stay.join(" "))),
                }
            }
            ["source" | "source-directory" | "no-auto-down" | "no-scripts", ..] => {
                inside = false;
                lines.push(line.to_owned());
            }
            [] => lines.push(line.to_owned()),
            [first, ..] => lines.push(out_if(inside && !first.starts_with('#'), line)),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn out_if(condition: bool, line: &str) -> String {
    match condition {
        true => format!("{OUT}{line}"),
        false => line.to_owned(),
    }
}

/// The main file, reading the others.
fn sourcing(text: &str) -> String {
    let reads = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["source", what] => ["/etc/network/interfaces.d/*", "interfaces.d/*"].contains(what),
            ["source-directory", what] => {
                ["/etc/network/interfaces.d", "interfaces.d"].contains(&what.trim_end_matches('/'))
            }
            _ => false,
        }
    };
    match text.lines().any(reads) {
        true => text.to_owned(),
        false => format!("{text}{SOURCE}\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{by_dhcp, fixed};
    use super::*;
    use crate::linux::plan::tests::{commands, text_of};

    fn has(text: &str) -> Ifupdown {
        Ifupdown {
            files: BTreeMap::from([(MAIN.to_owned(), text.to_owned())]),
            resolver: Presence::Missing,
        }
    }

    #[test]
    fn a_fixed_address_takes_the_place_of_what_was_said_of_the_card() {
        let old = "auto lo eth0\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n\
                   \t# a comment\n\tmetric 100\nauto eth1\niface eth1 inet dhcp\n";
        let acts = acts(&[fixed()], &has(old)).unwrap();
        let main = "auto lo\niface lo inet loopback\n\n# labyard: allow-hotplug eth0\n# labyard: iface eth0 inet dhcp\n\
                    \t# a comment\n# labyard: \tmetric 100\nauto eth1\niface eth1 inet dhcp\n\
                    source /etc/network/interfaces.d/*\n";
        assert_eq!(text_of(&acts, MAIN), main);
        assert_eq!(
            text_of(&acts, OURS),
            "# Made by labyard.\nauto eth0\niface eth0 inet static\n    address 10.77.0.10/24\n    \
             gateway 10.77.0.1\n    dns-nameservers 10.77.0.1 fd00::1\n    dns-search lab.test\n"
        );
        assert_eq!(
            text_of(&acts, RESOLVER),
            "# Made by labyard.\nsearch lab.test\nnameserver 10.77.0.1\nnameserver fd00::1\n"
        );
        assert_eq!(
            commands(&acts),
            ["ifdown --force eth0", "ip address flush dev eth0", "ifup eth0"]
        );
        // What was done is not done again.
        let again = super::acts(&[fixed()], &has(main)).unwrap();
        assert!(
            !again
                .iter()
                .any(|act| matches!(act, Act::Write(file) if file.path == Path::new(MAIN))),
            "{again:?}"
        );
    }

    #[test]
    fn a_program_that_collects_name_servers_is_left_to_it() {
        let mut has = has("source interfaces.d/*\n");
        has.resolver = Presence::There;
        let acts = acts(&[fixed()], &has).unwrap();
        assert!(
            !acts
                .iter()
                .any(|act| matches!(act, Act::Write(file) if file.path != Path::new(OURS))),
            "{acts:?}"
        );
    }

    #[test]
    fn name_servers_beside_dhcp_are_refused() {
        let error = acts(&[by_dhcp()], &has("")).unwrap_err();
        assert_eq!(error, CannotPlan::ServersBesideDhcp("eth1".into()));
    }
}

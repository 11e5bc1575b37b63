//! The guest's name: `/etc/hostname`, a line in `/etc/hosts`, and the running kernel's.

use labyard_exchange::Configuration;

use super::act::{Act, File, Program};
use super::facts::{Facts, Presence};
use super::plan::relabel;

/// The address under which a machine finds its own name: that of Debian, which cloud-init uses everywhere.
const OWN: &str = "127.0.1.1";

/// What is to be done.
pub(crate) fn acts(configuration: &Configuration, facts: &Facts) -> Vec<Act> {
    let name = configuration.hostname.as_str();
    let mut acts = vec![
        Act::Write(File {
            path: "/etc/hostname".into(),
            text: format!("{name}\n"),
            mode: 0o644,
        }),
        Act::Write(File {
            path: "/etc/hosts".into(),
            text: hosts(facts.hosts.as_deref(), name, configuration.full_name().as_deref()),
            mode: 0o644,
        }),
    ];
    acts.extend(relabel(facts, &acts));
    acts.push(Act::Run(match facts.hostnamectl {
        Presence::There => Program::new("hostnamectl", &["set-hostname", name]).live(),
        Presence::Missing => Program::new("hostname", &[name]).live(),
    }));
    acts
}

/// `/etc/hosts` with the line of the own name; everything else stays.
fn hosts(old: Option<&str>, name: &str, full_name: Option<&str>) -> String {
    let names = full_name.into_iter().chain([name]).collect::<Vec<_>>().join(" ");
    let own = format!("{OWN} {names}");
    let old = old.unwrap_or("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    let is_own = |line: &str| line.split_whitespace().next() == Some(OWN);
    let mut lines: Vec<&str> = Vec::new();
    let mut is_there = false;
    for line in old.lines() {
        if !is_own(line) {
            lines.push(line);
        } else if !is_there {
            lines.push(&own);
            is_there = true;
        }
    }
    if !is_there {
        // Behind the line of localhost, where people look for it.
        let after = lines
            .iter()
            .position(|line| line.split_whitespace().next() == Some("127.0.0.1"));
        lines.insert(after.map_or(0, |at| at + 1), &own);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{commands, text_of};
    use super::*;

    #[test]
    fn the_name_is_written_and_told_to_the_running_system() {
        let acts = acts(&Configuration::named("web-01"), &Facts::default());
        assert_eq!(text_of(&acts, "/etc/hostname"), "web-01\n");
        assert_eq!(commands(&acts), ["hostname web-01"]);
        let systemd = Facts {
            hostnamectl: Presence::There,
            ..Facts::default()
        };
        let acts = super::acts(&Configuration::named("web-01"), &systemd);
        assert_eq!(commands(&acts), ["hostnamectl set-hostname web-01"]);
    }

    #[test]
    fn the_own_name_stands_once_in_hosts_and_the_rest_stays() {
        let old = "# mine\n127.0.0.1\tlocalhost\n10.0.0.9 other\n";
        let new = hosts(Some(old), "web", Some("web.lab.test"));
        assert_eq!(
            new,
            "# mine\n127.0.0.1\tlocalhost\n127.0.1.1 web.lab.test web\n10.0.0.9 other\n"
        );
        assert_eq!(hosts(Some(&new), "web", Some("web.lab.test")), new);
        let renamed = hosts(Some(&(new + "127.0.1.1 third\n")), "db", None);
        assert_eq!(
            renamed,
            "# mine\n127.0.0.1\tlocalhost\n127.0.1.1 db\n10.0.0.9 other\n"
        );
        assert!(hosts(None, "web", None).contains("127.0.0.1 localhost\n127.0.1.1 web\n"));
    }
}

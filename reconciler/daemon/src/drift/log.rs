//! Who changed an object, where logs of its host tell: lines that name it, with the user in them if there is one.
//!
//! Read are logs as hosts write them: the kernel's audit log (`VIRT_CONTROL` records of libvirt), polkit's and sudo's lines in
//! a journal or syslog, libvirt's own log of a machine (`qemu/NAME.log`, whose lines do not name the machine).

use std::path::Path;

/// How many lines of an object are shown, the last ones.
const MOST: usize = 5;
/// How much of a line is shown, in characters.
const LONGEST: usize = 300;

/// A line that speaks of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The user, where the line has one.
    pub(crate) who: Option<String>,
    /// The line.
    pub(crate) line: String,
}

/// The last lines of a log that speak of an object with these names and ids.
pub(crate) fn entries(file: &Path, text: &str, aliases: &[String]) -> Vec<Entry> {
    let of_one_machine = file
        .file_stem()
        .is_some_and(|stem| aliases.iter().any(|alias| stem == alias.as_str()));
    let speaks = |line: &&str| {
        if of_one_machine {
            line.contains(": shutting down, reason=") || line.contains(": starting up libvirt")
        } else {
            aliases.iter().any(|alias| names(line, alias))
        }
    };
    let mut found: Vec<_> = text.lines().rev().filter(speaks).take(MOST).map(entry).collect();
    found.reverse();
    found
}

fn entry(line: &str) -> Entry {
    Entry {
        who: user(line),
        line: line.trim().chars().take(LONGEST).collect(),
    }
}

/// Whether a line holds a name as a word of its own.
fn names(line: &str, alias: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !alias.is_empty()
        && line.match_indices(alias).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + alias.len()..].chars().next();
            !before.is_some_and(part) && !after.is_some_and(part)
        })
}

fn user(line: &str) -> Option<String> {
    // audit's interpreted login user, polkit's owner of the process, sudo's caller.
    let quoted = between(line, "AUID=\"", '"').filter(|user| *user != "unset");
    let owner = || between(line, "(owned by unix-user:", ')');
    let sudo = || between(line, "sudo: ", ':').filter(|user| !user.trim().contains(' '));
    quoted
        .or_else(owner)
        .or_else(sudo)
        .map(|user| user.trim().to_owned())
        .filter(|user| !user.is_empty())
}

fn between<'a>(line: &'a str, from: &str, to: char) -> Option<&'a str> {
    let rest = &line[line.find(from)? + from.len()..];
    rest.split(to).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Vec<String> {
        vec![
            "web".to_owned(),
            "6c1e0b2a-0000-4000-8000-000000000001".to_owned(),
        ]
    }

    #[test]
    fn the_user_is_read_off_audit_polkit_and_sudo_lines() {
        let audit = "type=VIRT_CONTROL msg=audit(1763730000.123:77): pid=900 uid=0 auid=1000 msg='virt=kvm op=stop \
                     reason=destroyed vm=\"web\" uuid=6c1e0b2a-0000-4000-8000-000000000001 res=success'UID=\"root\" AUID=\"alice\"";
        let polkit = "Nov 21 15:00:00 lab1 polkitd[700]: Operator of unix-session:2 authenticated as unix-user:bob to gain \
                      authorization for action org.libvirt.unix.manage for unix-process:42:777 [virsh destroy web] (owned by unix-user:bob)";
        let sudo = "Nov 21 15:00:00 lab1 sudo:    carol : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/virsh setmem web 1G";
        let text = [audit, polkit, sudo].join("\n");
        let who: Vec<_> = entries(Path::new("/var/log/audit/audit.log"), &text, &web())
            .into_iter()
            .map(|entry| entry.who.unwrap())
            .collect();
        assert_eq!(who, ["alice", "bob", "carol"]);
    }

    #[test]
    fn a_line_about_a_machine_of_a_similar_name_is_not_taken() {
        let text = "virsh destroy web-01\nvirsh destroy oldweb\nvirsh destroy web.test";
        assert_eq!(entries(Path::new("messages"), text, &web()), []);
    }

    #[test]
    fn of_a_machines_own_log_its_starts_and_ends_are_shown() {
        let text = "2026-11-21 15:00:00.000+0000: starting up libvirt version: 11.3.0\nLC_ALL=C \\\n\
                    2026-11-21 16:00:00.000+0000: shutting down, reason=destroyed\n";
        let found = entries(Path::new("/var/log/libvirt/qemu/web.log"), text, &web());
        assert_eq!(found.len(), 2);
        assert!(found[1].line.ends_with("reason=destroyed"));
        assert_eq!(
            entries(Path::new("/var/log/libvirt/qemu/db.log"), text, &web()),
            []
        );
    }
}

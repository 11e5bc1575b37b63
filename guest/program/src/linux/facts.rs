//! What a system is and has, as far as a plan depends on it.

use std::collections::BTreeMap;
use std::path::Path;

use labyard_exchange::config::Mac;

use super::tree::{ActFailed, Tree};

/// What a system is and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Users by name.
    pub(crate) users: BTreeMap<String, Account>,
    /// Groups by name, with those who are members beside their own group.
    pub(crate) groups: BTreeMap<String, Vec<String>>,
    /// Names of cards by address. Cards that are part of another are left out: they share its address.
    pub(crate) cards: BTreeMap<Mac, String>,
    /// What configures the network.
    pub(crate) means: Option<Means>,
    /// `/etc/hosts`.
    pub(crate) hosts: Option<String>,
    /// Where users' rights are kept.
    pub(crate) sudoers: Presence,
    /// The shell that new users get.
    pub(crate) shell: &'static str,
    /// Whether systemd's `hostnamectl` is there.
    pub(crate) hostnamectl: Presence,
    /// Whether files have labels that have to be set (SELinux).
    pub(crate) restorecon: Presence,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Its number.
    pub(crate) uid: u32,
    /// The number of its group.
    pub(crate) gid: u32,
    /// Its home.
    pub(crate) home: String,
}

/// What configures the network, with what it has already where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// netplan, whatever it renders for.
    Netplan,
    /// `NetworkManager`.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// ifupdown.
    Ifupdown(Ifupdown),
}

/// What ifupdown has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ifupdown {
    /// `/etc/network/interfaces` and the files of `interfaces.d`, by path.
    pub(crate) files: BTreeMap<String, String>,
    /// Whether a program takes the name servers of cards and writes `resolv.conf`.
    pub(crate) resolver: Presence,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is.
    There,
    /// It is not.
    #[default]
    Missing,
}

const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants";

impl Facts {
    /// Looks.
    pub(crate) fn look(tree: &Tree) -> Result<Self, ActFailed> {
        let text = |path: &str| tree.read(Path::new(path)).map(Option::unwrap_or_default);
        let shell = match tree.exists("/bin/bash") {
            true => "/bin/bash",
            false => "/bin/sh",
        };
        Ok(Self {
            users: users(&text("/etc/passwd")?),
            groups: groups(&text("/etc/group")?),
            cards: cards(tree)?,
            means: means(tree)?,
            hosts: tree.read(Path::new("/etc/hosts"))?,
            sudoers: presence(tree.exists("/etc/sudoers.d")),
            shell,
            hostnamectl: presence(program(tree, "hostnamectl") && tree.exists("/run/systemd/system")),
            restorecon: presence(program(tree, "restorecon")),
        })
    }
}

fn presence(is_there: bool) -> Presence {
    match is_there {
        true => Presence::There,
        false => Presence::Missing,
    }
}

fn program(tree: &Tree, name: &str) -> bool {
    PROGRAMS
        .iter()
        .any(|directory| tree.exists(&format!("/{directory}/{name}")))
}

/// The lines of a file like `passwd`. Lines of other programs (`+::::::` of NIS) have no number and are left out.
pub(crate) fn users(passwd: &str) -> BTreeMap<String, Account> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1)?.to_owned();
        Some((name, Account { uid, gid, home }))
    };
    passwd.lines().filter_map(account).collect()
}

fn groups(group: &str) -> BTreeMap<String, Vec<String>> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let members = fields.nth(2)?.split(',').filter(|member| !member.is_empty());
        Some((name, members.map(str::to_owned).collect()))
    };
    group.lines().filter_map(entry).collect()
}

fn cards(tree: &Tree) -> Result<BTreeMap<Mac, String>, ActFailed> {
    let mut cards = BTreeMap::new();
    for name in tree.names_in("/sys/class/net")? {
        let about = |what: &str| format!("/sys/class/net/{name}/{what}");
        // A virtual function of accelerated networking has the address of the card that it works for.
        if tree.exists(&about("master")) {
            continue;
        }
        let address = tree.read(Path::new(&about("address")))?.unwrap_or_default();
        if let Ok(mac) = address.trim().parse() {
            cards.entry(mac).or_insert(name);
        }
    }
    Ok(cards)
}

/// netplan writes for the others, so it comes first. An enabled service comes before one that is merely there.
fn means(tree: &Tree) -> Result<Option<Means>, ActFailed> {
    let enabled = |unit: &str| tree.exists(&format!("{ENABLED}/{unit}.service"));
    if program(tree, "netplan") && tree.exists("/etc/netplan") {
        return Ok(Some(Means::Netplan));
    }
    if enabled("NetworkManager") {
        return Ok(Some(Means::NetworkManager));
    }
    if enabled("systemd-networkd") {
        return Ok(Some(Means::Networkd));
    }
    if program(tree, "ifup") && tree.exists("/etc/network/interfaces") {
        return ifupdown(tree).map(|has| Some(Means::Ifupdown(has)));
    }
    Ok(program(tree, "NetworkManager").then_some(Means::NetworkManager))
}

fn ifupdown(tree: &Tree) -> Result<Ifupdown, ActFailed> {
    let below = tree.names_in("/etc/network/interfaces.d")?;
    let paths = below
        .into_iter()
        .map(|name| format!("/etc/network/interfaces.d/{name}"));
    let mut files = BTreeMap::new();
    for path in paths.chain(["/etc/network/interfaces".to_owned()]) {
        if let Some(text) = tree.read(Path::new(&path))? {
            files.insert(path, text);
        }
    }
    Ok(Ifupdown {
        files,
        resolver: presence(program(tree, "resolvconf") || tree.is_link("/etc/resolv.conf")),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tree with these files; one whose content begins with `->` is a link.
    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match text.strip_prefix("->") {
                Some(to) => std::os::unix::fs::symlink(to, path).unwrap(),
                None => fs::write(path, text).unwrap(),
            }
        }
        let tree = Tree::new(directory.path().into());
        (directory, tree)
    }

    #[test]
    fn users_and_groups_are_read_and_odd_lines_left_out() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\n+::::::\nann:x:1000:100:Ann,,,:/home/ann:/bin/sh\n\nx\n";
        let group = "sudo:x:27:ann,bob\nusers:x:100:\n";
        let (_keep, tree) = tree(&[("etc/passwd", passwd), ("etc/group", group)]);
        let facts = Facts::look(&tree).unwrap();
        assert_eq!(facts.users.keys().collect::<Vec<_>>(), ["ann", "root"]);
        let ann = &facts.users["ann"];
        assert_eq!((ann.uid, ann.gid, ann.home.as_str()), (1000, 100, "/home/ann"));
        assert_eq!(facts.groups["sudo"], ["ann", "bob"]);
        assert!(facts.groups["users"].is_empty());
    }

    #[test]
    fn a_card_is_found_by_its_address_and_its_virtual_function_is_not_taken_for_it() {
        let (_keep, tree) = tree(&[
            ("sys/class/net/eth0/address", "00:15:5d:00:00:01\n"),
            ("sys/class/net/enP1s1/address", "00:15:5d:00:00:01\n"),
            ("sys/class/net/enP1s1/master", "->../eth0"),
            ("sys/class/net/lo/address", "00:00:00:00:00:00\n"),
            ("sys/class/net/bonding_masters", ""),
        ]);
        let cards = Facts::look(&tree).unwrap().cards;
        assert_eq!(cards[&"00:15:5d:00:00:01".parse().unwrap()], "eth0");
    }

    #[test]
    fn what_configures_the_network_is_found_by_what_is_enabled() {
        let wants = "etc/systemd/system/multi-user.target.wants";
        let manager = format!("{wants}/NetworkManager.service");
        let networkd = format!("{wants}/systemd-networkd.service");
        let name = |files: &[(&str, &str)]| {
            let (_keep, tree) = tree(files);
            match Facts::look(&tree).unwrap().means {
                None => "none",
                Some(Means::Netplan) => "netplan",
                Some(Means::NetworkManager) => "NetworkManager",
                Some(Means::Networkd) => "networkd",
                Some(Means::Ifupdown(_)) => "ifupdown",
            }
        };
        assert_eq!(name(&[]), "none");
        let ifup = [("usr/sbin/ifup", ""), ("etc/network/interfaces", "")];
        assert_eq!(name(&ifup), "ifupdown");
        assert_eq!(
            name(&[ifup[0], ifup[1], ("usr/sbin/NetworkManager", "")]),
            "ifupdown"
        );
        assert_eq!(name(&[("usr/sbin/NetworkManager", "")]), "NetworkManager");
        assert_eq!(
            name(&[ifup[0], ifup[1], (&manager, "->/lib/x")]),
            "NetworkManager"
        );
        assert_eq!(name(&[ifup[0], ifup[1], (&networkd, "->/lib/x")]), "networkd");
        let netplan = [
            ("usr/sbin/netplan", ""),
            ("etc/netplan/50.yaml", ""),
            (&networkd, "->/x"),
        ];
        assert_eq!(name(&netplan), "netplan");
    }
}

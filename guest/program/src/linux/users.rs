//! Users: made where they are missing, with their passwords, keys and rights. What is there already stays.

use std::fmt::Write as _;

use labyard_exchange::config::User;
use labyard_exchange::{Configuration, Secret};

use super::act::{Act, File, Program};
use super::facts::{Facts, Presence};
use super::plan::{CannotPlan, relabel};

/// Where the rights of our users are kept.
const RIGHTS: &str = "/etc/sudoers.d/90-labyard";
/// The groups whose members administer images.
const ADMINS: [&str; 3] = ["sudo", "wheel", "admin"];
/// The numbers of people; below them are the system's own users.
const PEOPLE: std::ops::Range<u32> = 1000..60_000;

const BEGIN: &str = "# labyard: begin (lines in here are replaced)";
const END: &str = "# labyard: end";

/// Whom a configuration is about.
struct Person<'a> {
    name: String,
    password: Option<&'a Secret>,
    keys: &'a [String],
    rights: Rights,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rights {
    Ordinary,
    /// Given by a line of ours.
    Admin,
    /// Those that the image gave: they stay.
    OfImage,
}

/// What is to be done.
///
/// # Errors
/// If somebody cannot be had, or not with these rights.
pub(crate) fn acts(configuration: &Configuration, facts: &Facts) -> Result<Vec<Act>, CannotPlan> {
    let people = people(configuration, facts)?;
    let mut acts = Vec::new();
    for person in &people {
        match facts.users.get(&person.name) {
            None => acts.push(make(&person.name, facts)),
            // root may have keys and a password too; daemons may not.
            Some(there) if !PEOPLE.contains(&there.uid) && there.uid != 0 => {
                return Err(CannotPlan::SystemUser(person.name.clone(), there.uid));
            }
            Some(_) => {}
        }
    }
    acts.extend(passwords(&people));
    acts.extend(people.iter().map(|person| Act::Keys {
        user: person.name.clone(),
        keys: person.keys.to_vec(),
    }));
    acts.extend(rights(&people, facts)?);
    let labels = relabel(facts, &acts);
    acts.extend(labels);
    Ok(acts)
}

fn people<'a>(configuration: &'a Configuration, facts: &Facts) -> Result<Vec<Person<'a>>, CannotPlan> {
    let mut people = Vec::new();
    let keys = configuration.ssh_authorized_keys.as_slice();
    let password = configuration.admin_password.as_ref();
    let (name, rights) = match &configuration.admin_username {
        Some(name) => (Some(name.clone()), Rights::Admin),
        None if password.is_none() && keys.is_empty() => (None, Rights::OfImage),
        None => {
            let found = admin_of_image(facts).ok_or(CannotPlan::NoAdmin)?;
            (Some(found), Rights::OfImage)
        }
    };
    people.extend(name.map(|name| Person {
        name,
        password,
        keys,
        rights,
    }));
    let others = configuration.users.iter().map(|(name, user): (_, &User)| Person {
        name: name.clone(),
        password: user.password.as_ref(),
        keys: &user.ssh_authorized_keys,
        rights: match user.admin {
            true => Rights::Admin,
            false => Rights::Ordinary,
        },
    });
    people.extend(others);
    Ok(people)
}

/// The person with the lowest number among those who administer the image.
fn admin_of_image(facts: &Facts) -> Option<String> {
    let is_admin = |name: &String| {
        ADMINS.iter().any(|group| {
            facts
                .groups
                .get(*group)
                .is_some_and(|members| members.contains(name))
        })
    };
    facts
        .users
        .iter()
        .filter(|(name, about)| PEOPLE.contains(&about.uid) && is_admin(name))
        .min_by_key(|(_, about)| about.uid)
        .map(|(name, _)| name.clone())
}

fn make(name: &str, facts: &Facts) -> Act {
    let group: &[&str] = match facts.groups.contains_key(name) {
        true => &["--gid", name],
        false => &["--user-group"],
    };
    let arguments = [&["--create-home", "--shell", facts.shell], group, &[name]].concat();
    Act::Run(Program::new("useradd", &arguments))
}

/// All passwords by one program, which reads them.
fn passwords(people: &[Person<'_>]) -> Option<Act> {
    // All at once: growing would leave copies behind in memory.
    let length = |person: &Person<'_>| {
        let password = person.password.map_or(0, |password| password.reveal().len());
        person.name.len() + password + 2
    };
    let mut lines = String::with_capacity(people.iter().map(length).sum());
    for person in people {
        if let Some(password) = person.password {
            // Neither can hold what separates them: a name no colon, a password no end of line.
            let _ = writeln!(lines, "{}:{}", person.name, password.reveal());
        }
    }
    (!lines.is_empty()).then(|| Act::Run(Program::new("chpasswd", &[]).reading(Secret::new(lines))))
}

fn rights(people: &[Person<'_>], facts: &Facts) -> Result<Option<Act>, CannotPlan> {
    let admins: Vec<_> = people
        .iter()
        .filter(|person| person.rights == Rights::Admin)
        .map(|person| person.name.as_str())
        .collect();
    match (admins.first(), facts.sudoers) {
        (None, Presence::There) => Ok(Some(Act::Remove(RIGHTS.into()))),
        (None, Presence::Missing) => Ok(None),
        (Some(first), Presence::Missing) => Err(CannotPlan::NoSudo((*first).to_owned())),
        (Some(_), Presence::There) => {
            let lines = admins
                .iter()
                .map(|name| format!("{name} ALL=(ALL) NOPASSWD:ALL\n"));
            Ok(Some(Act::Write(File {
                path: RIGHTS.into(),
                text: ["# Made by labyard.\n".to_owned()]
                    .into_iter()
                    .chain(lines)
                    .collect(),
                mode: 0o440,
            })))
        }
    }
}

/// A file of keys with ours between two lines; everything else in it stays.
pub(crate) fn authorized_keys(old: Option<&str>, keys: &[String]) -> String {
    let mut text = String::new();
    let mut inside = false;
    for line in old.unwrap_or_default().lines() {
        match line {
            BEGIN => inside = true,
            END => inside = false,
            other if !inside => {
                text.push_str(other);
                text.push('\n');
            }
            _ => {}
        }
    }
    if !keys.is_empty() {
        let ours = [BEGIN]
            .into_iter()
            .chain(keys.iter().map(String::as_str))
            .chain([END]);
        for line in ours {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::facts::Account;
    use super::super::plan::tests::{commands, text_of};
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAA ops@desk";

    fn account(uid: u32) -> Account {
        Account {
            uid,
            gid: uid,
            home: "/home/x".into(),
        }
    }

    fn facts() -> Facts {
        Facts {
            users: BTreeMap::from([
                ("root".to_owned(), account(0)),
                ("daemon".to_owned(), account(1)),
                ("debian".to_owned(), account(1001)),
                ("ann".to_owned(), account(1000)),
            ]),
            groups: BTreeMap::from([
                ("sudo".to_owned(), vec!["debian".to_owned()]),
                ("ops".to_owned(), vec![]),
            ]),
            sudoers: Presence::There,
            shell: "/bin/bash",
            ..Facts::default()
        }
    }

    fn configuration() -> Configuration {
        let user = User {
            password: Some(Secret::new("two:colons:in it")),
            ssh_authorized_keys: vec![KEY.into()],
            admin: true,
        };
        Configuration {
            admin_username: Some("ops".into()),
            admin_password: Some(Secret::new("hunter2")),
            ssh_authorized_keys: vec![KEY.into()],
            users: BTreeMap::from([("ann".to_owned(), User::default()), ("bob".to_owned(), user)]),
            ..Configuration::named("web-01")
        }
    }

    #[test]
    fn those_who_are_missing_are_made_and_those_who_are_there_are_not() {
        let acts = acts(&configuration(), &facts()).unwrap();
        assert_eq!(
            commands(&acts),
            [
                "useradd --create-home --shell /bin/bash --gid ops ops",
                "useradd --create-home --shell /bin/bash --user-group bob",
                "chpasswd "
            ]
        );
        let of = |name: &str| {
            acts.iter().any(
                |act| matches!(act, Act::Keys { user, keys } if user == name && *keys == [KEY.to_owned()]),
            )
        };
        assert!(of("ops") && of("bob") && !of("ann"));
    }

    #[test]
    fn passwords_are_read_by_the_program_and_stand_in_no_argument() {
        let acts = acts(&configuration(), &facts()).unwrap();
        let input = acts.iter().find_map(|act| match act {
            Act::Run(program) => program.input.as_ref(),
            _ => None,
        });
        assert_eq!(input.unwrap().reveal(), "ops:hunter2\nbob:two:colons:in it\n");
        let shown = format!("{acts:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("colons"), "{shown}");
    }

    #[test]
    fn rights_are_given_to_those_who_have_them_and_taken_from_the_rest() {
        let given = acts(&configuration(), &facts()).unwrap();
        assert_eq!(
            text_of(&given, RIGHTS),
            "# Made by labyard.\nops ALL=(ALL) NOPASSWD:ALL\nbob ALL=(ALL) NOPASSWD:ALL\n"
        );
        let none = acts(&Configuration::named("web-01"), &facts()).unwrap();
        assert_eq!(none, [Act::Remove(RIGHTS.into())]);
        let without = Facts {
            sudoers: Presence::Missing,
            ..facts()
        };
        assert_eq!(
            acts(&configuration(), &without),
            Err(CannotPlan::NoSudo("ops".into()))
        );
    }

    #[test]
    fn without_a_name_it_is_the_administrator_that_the_image_has() {
        let mut configuration = Configuration::named("web-01");
        configuration.ssh_authorized_keys = vec![KEY.into()];
        let of_image = acts(&configuration, &facts()).unwrap();
        assert!(
            matches!(&of_image[0], Act::Keys { user, .. } if user == "debian"),
            "{of_image:?}"
        );
        let nobody = acts(&configuration, &Facts::default());
        assert_eq!(nobody, Err(CannotPlan::NoAdmin));
    }

    #[test]
    fn users_of_the_system_itself_are_left_alone() {
        let mut configuration = Configuration::named("web-01");
        configuration.users = BTreeMap::from([("daemon".to_owned(), User::default())]);
        let refused = acts(&configuration, &facts());
        assert_eq!(refused, Err(CannotPlan::SystemUser("daemon".into(), 1)));
    }

    #[test]
    fn keys_of_ours_are_replaced_and_others_stay() {
        let keys = [KEY.to_owned()];
        let first = authorized_keys(Some("ssh-rsa OWN me"), &keys);
        assert_eq!(first, format!("ssh-rsa OWN me\n{BEGIN}\n{KEY}\n{END}\n"));
        assert_eq!(authorized_keys(Some(&first), &keys), first);
        let other = ["ssh-rsa OTHER".to_owned()];
        let second = authorized_keys(Some(&format!("{first}ssh-rsa LATER\n")), &other);
        assert_eq!(
            second,
            format!("ssh-rsa OWN me\nssh-rsa LATER\n{BEGIN}\nssh-rsa OTHER\n{END}\n")
        );
        assert_eq!(
            authorized_keys(Some(&second), &[]),
            "ssh-rsa OWN me\nssh-rsa LATER\n"
        );
        assert_eq!(authorized_keys(None, &[]), "");
    }
}

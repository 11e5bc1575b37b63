//! All that is to be done, in its order. Pure: a configuration and facts go in, steps come out.

use labyard_exchange::config::{Family, Mac, Unusable};
use labyard_exchange::{Configuration, Stage};

use super::act::{Act, Step};
use super::facts::Facts;
use super::{hostname, network, users};

/// Why a system cannot be made as a configuration says. Nothing has been done then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CannotPlan {
    /// The configuration itself.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A password or keys of nobody.
    #[error(
        "the image has no administrator of its own (no user of the groups sudo, wheel or admin): name one in \
         guest.admin_username"
    )]
    NoAdmin,
    /// Rights that cannot be given.
    #[error("{0:?} shall administer the guest, and sudo is not installed in it")]
    NoSudo(String),
    /// A user of the system itself.
    #[error("{0:?} is a user of the system itself (its number is {1}), and is left alone")]
    SystemUser(String, u32),
    /// A card that is not there.
    #[error("there is no card with the address {wanted}; there are {there}")]
    NoCard {
        /// Which.
        wanted: Mac,
        /// Which there are.
        there: String,
    },
    /// Nothing that could be told of addresses.
    #[error(
        "nothing that configures the network was found: netplan, NetworkManager (enabled), systemd-networkd (enabled) \
         and ifupdown (with /etc/network/interfaces) were looked for"
    )]
    NoManager,
    /// What ifupdown has no word for.
    #[error(
        "the network is configured by ifupdown, which has no way to put name servers in place of those that DHCP gives \
         (card {0}): give the card a fixed address, or leave dns_servers out"
    )]
    ServersBesideDhcp(String),
}

impl CannotPlan {
    /// What could not be done.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Unusable(_) => Stage::Look,
            Self::NoAdmin | Self::NoSudo(_) | Self::SystemUser(..) => Stage::Users,
            Self::NoCard { .. } | Self::NoManager | Self::ServersBesideDhcp(_) => Stage::Network,
        }
    }
}

/// What is to be done.
///
/// # Errors
/// Where a part of it cannot be done: then none of it is.
pub(crate) fn plan(configuration: &Configuration, facts: &Facts) -> Result<Vec<Step>, CannotPlan> {
    configuration.check(Family::Linux)?;
    let parts = [
        (Stage::Hostname, hostname::acts(configuration, facts)),
        (Stage::Users, users::acts(configuration, facts)?),
        (Stage::Network, network::acts(configuration, facts)?),
    ];
    let steps = parts
        .into_iter()
        .flat_map(|(stage, acts)| acts.into_iter().map(move |act| Step { stage, act }));
    Ok(steps.collect())
}

/// Files whose labels have to be set anew where a system has labels (SELinux): a file that was renamed into its place
/// has those of the place where it was made.
pub(crate) fn relabel(facts: &Facts, acts: &[Act]) -> Option<Act> {
    use super::act::Program;
    use super::facts::Presence;
    let written: Vec<&str> = acts
        .iter()
        .filter_map(|act| match act {
            Act::Write(file) => file.path.to_str(),
            _ => None,
        })
        .collect();
    if facts.restorecon == Presence::Missing || written.is_empty() {
        return None;
    }
    let arguments: Vec<&str> = ["-F"].into_iter().chain(written).collect();
    Some(Act::Run(Program::new("restorecon", &arguments).live().may_fail()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::act::Program;
    use super::*;

    /// The programs among some acts, as command lines.
    pub(crate) fn commands(acts: &[Act]) -> Vec<String> {
        let line = |program: &Program| format!("{} {}", program.name, program.arguments.join(" "));
        acts.iter()
            .filter_map(|act| match act {
                Act::Run(program) => Some(line(program)),
                _ => None,
            })
            .collect()
    }

    /// The text of a file among some acts.
    pub(crate) fn text_of<'a>(acts: &'a [Act], path: &str) -> &'a str {
        acts.iter()
            .find_map(|act| match act {
                Act::Write(file) if file.path.to_str() == Some(path) => Some(file.text.as_str()),
                _ => None,
            })
            .unwrap_or_else(|| panic!("{path} is not written: {acts:?}"))
    }

    #[test]
    fn a_configuration_that_says_a_name_touches_nothing_else() {
        let steps = plan(&Configuration::named("web-01"), &Facts::default()).unwrap();
        assert!(
            steps.iter().all(|step| step.stage == Stage::Hostname),
            "{steps:?}"
        );
    }

    #[test]
    fn what_linux_does_not_do_is_refused_before_anything_is_done() {
        let mut configuration = Configuration::named("web-01");
        configuration.domain_join = Some(labyard_exchange::config::DomainJoin {
            domain: "corp.example".into(),
            username: "joiner".into(),
            password: labyard_exchange::Secret::new("x"),
            ou: None,
        });
        let error = plan(&configuration, &Facts::default()).unwrap_err();
        assert_eq!(error, CannotPlan::Unusable(Unusable::DomainOnLinux));
    }

    #[test]
    fn files_get_their_labels_where_a_system_has_labels() {
        let facts = Facts {
            restorecon: super::super::facts::Presence::There,
            ..Facts::default()
        };
        let acts = hostname::acts(&Configuration::named("web-01"), &facts);
        let lines = commands(&acts);
        assert!(
            lines.contains(&"restorecon -F /etc/hostname /etc/hosts".to_owned()),
            "{lines:?}"
        );
    }
}

//! Faults of a service that come of how its host is set up, each with the command that mends it there.
//!
//! ```
//! use wsman::{Asked, Error, Namespace, Remedy, Setup};
//!
//! const REMEDIES: &[Remedy] = &[Remedy {
//!     namespace: Namespace("root/virtualization/v2"),
//!     brings: "Install-WindowsFeature -Name Hyper-V -IncludeManagementTools -Restart",
//!     lets_in: "net localgroup \"Hyper-V Administrators\" USER /add",
//! }];
//! # let error = Error::Unexpected(String::new());
//! let asked = Asked { host: "hv7", user: "op", namespace: REMEDIES[0].namespace };
//! if let Some(setup) = Setup::of(&error, &asked, REMEDIES) {
//!     eprintln!("{setup}");
//! }
//! ```

use crate::error::Error;
use crate::fault::{Fault, FaultKind};
use crate::names::Namespace;
use crate::trouble::{WHOLE_TOKEN, is_local};

/// What a namespace of WMI comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Which.
    pub namespace: Namespace,
    /// The command that brings it.
    pub brings: &'static str,
    /// The command that lets an account use it; `USER` stands for the account.
    pub lets_in: &'static str,
}

/// Who was asking for what, where.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host's name, to tell its own accounts from others.
    pub host: &'a str,
    /// The account.
    pub user: &'a str,
    /// The namespace.
    pub namespace: Namespace,
}

/// How a host is not set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Setup {
    /// The service has let a local account in and denies it everything: as a rule its token is filtered.
    #[error(
        "the service lets {user} in and denies it all. An account of the host itself that is in Administrators has none of \
         its rights over the network, unless it is the built-in one (remote token filtering). On the host, either \
         `net localgroup \"Remote Management Users\" {user} /add`, which is not filtered, or have its token whole: \
         `{WHOLE_TOKEN}`"
    )]
    TokenFiltered {
        /// The account.
        user: String,
    },
    /// The service has let an account in and denies it everything.
    #[error(
        "the service lets {user} in and denies it all: on the host, `net localgroup \"Remote Management Users\" {user} /add`; \
         if it is in there, `winrm configSDDL default` has to show that group with Full Control"
    )]
    ServiceRight {
        /// The account.
        user: String,
    },
    /// WMI denies the account a namespace.
    #[error("WMI denies {user} the namespace {}: on the host, {mend}", namespace.0)]
    NamespaceRight {
        /// The account.
        user: String,
        /// Which.
        namespace: Namespace,
        /// What lets it in.
        mend: String,
    },
    /// WMI does not have the namespace: what brings it is not installed.
    #[error("the host has no namespace {}: {mend}", namespace.0)]
    NamespaceMissing {
        /// Which.
        namespace: Namespace,
        /// What brings it.
        mend: String,
    },
    /// One more than the service takes at once.
    #[error(
        "the service takes no more requests at once ({which}). On the host, `winrm get winrm/config/service` shows \
         MaxConcurrentOperationsPerUser and MaxConnections; `winrm set winrm/config/service \
         @{{MaxConcurrentOperationsPerUser=\"1500\"}}` and `winrm set winrm/config/service @{{MaxConnections=\"300\"}}` are \
         what Windows comes with"
    )]
    Quota {
        /// What the service says.
        which: String,
    },
    /// What is to be sent does not fit, however few rows are asked for.
    #[error(
        "one object is larger than the service's envelopes: on the host, `winrm set winrm/config \
         @{{MaxEnvelopeSizekb=\"500\"}}`, which is what Windows comes with, or more"
    )]
    Envelope,
}

/// WMI's own numbers of denial: `WBEM_E_ACCESS_DENIED`, `E_ACCESSDENIED`.
const DENIED_BY_WMI: [u32; 2] = [0x8004_1003, 0x8007_0005];
/// `WBEM_E_INVALID_NAMESPACE`.
const NO_NAMESPACE: u32 = 0x8004_100E;

impl Setup {
    /// What has to be set up on the host so that this does not happen; `None` where that does not help.
    pub fn of(error: &Error, asked: &Asked<'_>, remedies: &[Remedy]) -> Option<Self> {
        let Error::Fault(fault) = error else {
            return None;
        };
        let user = asked.user.to_owned();
        let remedy = remedies.iter().find(|remedy| remedy.namespace == asked.namespace);
        Some(match fault.kind {
            FaultKind::AccessDenied if is_by_wmi(fault) => Self::NamespaceRight {
                mend: match remedy {
                    Some(remedy) => format!("`{}`", remedy.lets_in.replace("USER", asked.user)),
                    None => format!(
                        "`wmimgmt.msc`, WMI Control, Properties, Security, {}: Enable Account, Remote Enable and Execute \
                         Methods",
                        asked.namespace.0
                    ),
                },
                user,
                namespace: asked.namespace,
            },
            FaultKind::AccessDenied if is_local(asked.user, asked.host) => Self::TokenFiltered { user },
            FaultKind::AccessDenied => Self::ServiceRight { user },
            FaultKind::NoSuchClass if fault.wmi_code == Some(NO_NAMESPACE) => Self::NamespaceMissing {
                namespace: asked.namespace,
                mend: match remedy {
                    Some(remedy) => format!("`{}` brings it", remedy.brings),
                    None => "what brings it is not installed there".to_owned(),
                },
            },
            FaultKind::Quota => Self::Quota {
                which: fault.to_string(),
            },
            FaultKind::TooLarge => Self::Envelope,
            _ => return None,
        })
    }
}

/// Whether it is WMI that denies, and not the service in front of it.
fn is_by_wmi(fault: &Fault) -> bool {
    fault.wmi_code.is_some_and(|code| DENIED_BY_WMI.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: Namespace = Namespace("root/virtualization/v2");
    const REMEDIES: &[Remedy] = &[Remedy {
        namespace: V2,
        brings: "Install-WindowsFeature -Name Hyper-V",
        lets_in: "net localgroup \"Hyper-V Administrators\" USER /add",
    }];

    fn error(kind: FaultKind, service_code: Option<u32>, wmi_code: Option<u32>) -> Error {
        Error::Fault(Box::new(Fault {
            kind,
            subcode: None,
            service_code,
            wmi_code,
            message: "なし".to_owned(),
        }))
    }

    fn told(error: &Error, user: &str, namespace: Namespace) -> Setup {
        let asked = Asked {
            host: "hv7.example.org",
            user,
            namespace,
        };
        Setup::of(error, &asked, REMEDIES).unwrap()
    }

    #[test]
    fn an_account_of_the_host_is_told_of_remote_token_filtering_and_another_of_the_group() {
        let denied = error(FaultKind::AccessDenied, Some(5), None);
        for user in ["op", r".\op", r"HV7\op"] {
            let setup = told(&denied, user, V2);
            assert!(matches!(setup, Setup::TokenFiltered { .. }), "{user}: {setup:?}");
            assert!(
                setup
                    .to_string()
                    .contains("LocalAccountTokenFilterPolicy /t REG_DWORD /d 1")
            );
            assert!(setup.to_string().contains("Remote Management Users"));
        }
        for user in [r"EXAMPLE\op", "op@example.org"] {
            let setup = told(&denied, user, V2);
            assert!(matches!(setup, Setup::ServiceRight { .. }), "{user}: {setup:?}");
            assert!(setup.to_string().contains("winrm configSDDL default"));
        }
    }

    #[test]
    fn a_missing_right_in_a_namespace_is_told_with_the_group_that_has_it() {
        for code in DENIED_BY_WMI {
            let denied = error(FaultKind::AccessDenied, Some(0x8033_8003), Some(code));
            assert!(
                told(&denied, "op", V2)
                    .to_string()
                    .contains("`net localgroup \"Hyper-V Administrators\" op /add`")
            );
            let elsewhere = told(&denied, "op", Namespace("root/cimv2")).to_string();
            assert!(
                elsewhere.contains("wmimgmt.msc") && elsewhere.contains("Remote Enable"),
                "{elsewhere}"
            );
        }
    }

    #[test]
    fn a_namespace_that_is_not_there_is_told_with_what_brings_it_and_a_class_is_not() {
        let missing = error(FaultKind::NoSuchClass, None, Some(0x8004_100E));
        let setup = told(&missing, "op", V2);
        assert!(matches!(setup, Setup::NamespaceMissing { .. }));
        assert!(
            setup
                .to_string()
                .contains("`Install-WindowsFeature -Name Hyper-V` brings it")
        );
        let class = error(FaultKind::NoSuchClass, None, Some(0x8004_1010));
        let asked = Asked {
            host: "hv7",
            user: "op",
            namespace: V2,
        };
        assert_eq!(Setup::of(&class, &asked, REMEDIES), None);
        assert_eq!(
            Setup::of(&error(FaultKind::Other, None, None), &asked, REMEDIES),
            None
        );
    }

    #[test]
    fn limits_are_told_with_the_settings_that_hold_them() {
        let quota = told(&error(FaultKind::Quota, Some(0x8033_81A6), None), "op", V2).to_string();
        assert!(
            quota.contains("0x803381A6") && quota.contains("@{MaxConcurrentOperationsPerUser=\"1500\"}"),
            "{quota}"
        );
        let envelope = told(&error(FaultKind::TooLarge, None, None), "op", V2).to_string();
        assert!(envelope.contains("@{MaxEnvelopeSizekb=\"500\"}"), "{envelope}");
    }
}

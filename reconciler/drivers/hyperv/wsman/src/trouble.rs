//! Why a service cannot be spoken with, each with what mends it on the host.

use std::time::Duration;

/// What stands between a client and a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// Its name has no address.
    #[error(
        "the name {host} is not known: {reason}. `nslookup {host}` asks DNS; the host's address does as well as its name, \
         and so does a line in the hosts file of this computer"
    )]
    Unresolved {
        /// The name.
        host: String,
        /// Why.
        reason: String,
    },
    /// Nobody takes the connection.
    #[error(
        "{place} takes no connection: {reason}. On the host, `winrm quickconfig` starts the service and opens its port; for \
         HTTPS it needs a listener with a certificate: `winrm quickconfig -transport:https`"
    )]
    Unreachable {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
    /// Nobody says anything, not even no.
    #[error(
        "nobody answers at {place} ({after:.0?}): the host is off, or a firewall drops the packets. On the host: \
         `New-NetFirewallRule -DisplayName \"WinRM {port}\" -Direction Inbound -Protocol TCP -LocalPort {port} -Action Allow` \
         (the rule of `winrm quickconfig` lets only the own subnet in where the network's profile is Public: \
         `Get-NetConnectionProfile`)"
    )]
    Dropped {
        /// Host and port.
        place: String,
        /// The port.
        port: u16,
        /// How long.
        after: Duration,
    },
    /// The proxy does not lead there.
    #[error("the proxy {proxy} does not lead to {to}: {why}")]
    Proxy {
        /// Its host and port.
        proxy: String,
        /// Host and port of the service.
        to: String,
        /// Why.
        why: ProxyTrouble,
    },
    /// SSH does not lead there.
    #[error(transparent)]
    Ssh(#[from] labyard_ssh::Error),
    /// TLS does not come about.
    #[error("{place}: {why}")]
    Tls {
        /// Host and port.
        place: String,
        /// Why.
        why: TlsTrouble,
    },
    /// The account was not let in.
    #[error(
        "{place} does not let {user} in by {tried}{}: user name or password are wrong, or the account is in none of the host's \
         groups Remote Management Users and Administrators (on the host: \
         `net localgroup \"Remote Management Users\" {user} /add`){}",
        offering(.offered), filtered(.user, .place)
    )]
    Login {
        /// Host and port.
        place: String,
        /// Who.
        user: String,
        /// The scheme that was tried.
        tried: &'static str,
        /// The schemes that the service offers.
        offered: Vec<String>,
    },
    /// The service does not take the scheme.
    #[error(
        "{place} does not take {tried}{}{}",
        offering(.offered), scheme_advice(.tried)
    )]
    Scheme {
        /// Host and port.
        place: String,
        /// The scheme that was tried.
        tried: &'static str,
        /// The schemes that the service offers.
        offered: Vec<String>,
    },
    /// There is no ticket to log in with.
    #[error("the login to {place} by Kerberos fails: {why}")]
    Kerberos {
        /// Host and port.
        place: String,
        /// Why.
        why: KerberosTrouble,
    },
    /// The token exchange fails.
    #[error("the login to {place} fails: {reason}")]
    Negotiation {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
    /// The service answers, and not to this account.
    #[error(
        "{place} forbids it (HTTP 403): the account needs Full Control of the service itself \
         (on the host: `winrm configSDDL default`), and this client's address has to be in IPv4Filter or IPv6Filter \
         of `winrm get winrm/config/service`"
    )]
    Forbidden {
        /// Host and port.
        place: String,
    },
    /// The service takes nothing in the clear.
    #[error(
        "{place} refuses what is not sealed: use HTTPS or the login `negotiate`, which seals over HTTP; AllowUnencrypted on the \
         host would show everybody what is sent"
    )]
    Unsealed {
        /// Host and port.
        place: String,
    },
    /// Something else answers there.
    #[error("what answers at {place}{path} is no WS-Management service (HTTP {status})")]
    NoService {
        /// Host and port.
        place: String,
        /// The path.
        path: String,
        /// What it answered.
        status: u16,
    },
    /// Nothing comes.
    #[error("{place} has not answered for {} s", .after.as_secs())]
    Silent {
        /// Host and port.
        place: String,
        /// How long.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to {place} broke: {reason}")]
    Broken {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
    /// More came than an answer can be.
    #[error("{place} sent more than {limit} bytes as one answer")]
    TooLarge {
        /// Host and port.
        place: String,
        /// How many are taken.
        limit: usize,
    },
    /// The seal of an answer is broken.
    #[error("the answer of {place} cannot be opened: {reason}")]
    Seal {
        /// Host and port.
        place: String,
        /// Why.
        reason: String,
    },
}

/// Why a proxy does not lead to a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyTrouble {
    /// Its name has no address.
    #[error("its name is not known: {0}")]
    Unresolved(String),
    /// Nobody takes the connection.
    #[error("it takes no connection: {0}")]
    Unreachable(String),
    /// It wants to know who asks.
    #[error(
        "it wants a user and a password (HTTP 407){}: name them, http://USER:PASSWORD@HOST:PORT",
        offering(.offered)
    )]
    WantsLogin {
        /// The schemes that it offers.
        offered: Vec<String>,
    },
    /// It does not let the user in.
    #[error(
        "it does not let {user} in by Basic{}: user name or password are wrong, or it takes another scheme",
        offering(.offered)
    )]
    Login {
        /// Who.
        user: String,
        /// The schemes that it offers.
        offered: Vec<String>,
    },
    /// It does not connect there.
    #[error(
        "it refuses (HTTP {status}): its rules allow neither CONNECT to this port nor to this host, or to others alone \
         (Squid: SSL_ports and http_access; tinyproxy: ConnectPort and Filter); a host that needs no proxy belongs into NO_PROXY"
    )]
    Refused {
        /// Its answer.
        status: u16,
    },
    /// It cannot connect there itself.
    #[error(
        "it cannot reach the host itself (HTTP {status}): the name or address is not known there, or nobody listens (on the \
         host: `winrm quickconfig`)"
    )]
    NoWay {
        /// Its answer.
        status: u16,
    },
    /// Something else answers there.
    #[error("what answers is no HTTP proxy: {0}")]
    NoProxy(String),
    /// Nothing comes.
    #[error("it takes the connection and does not answer")]
    Silent,
}

/// Why there is no ticket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KerberosTrouble {
    /// Nobody gives tickets there.
    #[error(
        "the key distribution centre {centre} does not answer: {reason}. Name one that does, a controller of the domain \
         (`nltest /dsgetdc:` on a member shows one), and open TCP port 88 to it"
    )]
    Unreachable {
        /// Host and port.
        centre: String,
        /// Why.
        reason: String,
    },
    /// The user is not known.
    #[error(
        "{user} is no user of {realm}: the realm of a domain is its DNS name in capitals, not its short one"
    )]
    UnknownUser {
        /// Who.
        user: String,
        /// Where.
        realm: String,
    },
    /// The password is wrong.
    #[error("the password of {user} in {realm} is another one")]
    WrongPassword {
        /// Who.
        user: String,
        /// Where.
        realm: String,
    },
    /// The password has to be changed.
    #[error("the password of {user} is expired: it has to be changed first")]
    PasswordExpired {
        /// Who.
        user: String,
    },
    /// The account is locked.
    #[error("the account {user} is locked or disabled: `Unlock-ADAccount {user}`, `Enable-ADAccount {user}`")]
    Locked {
        /// Who.
        user: String,
    },
    /// No way of encryption that both know.
    #[error(
        "the account {user} has no keys of AES: `Set-ADUser {user} -KerberosEncryptionType AES128,AES256`, then set its \
         password anew"
    )]
    Encryption {
        /// Who.
        user: String,
    },
    /// The service is not known.
    #[error(
        "{realm} knows no service {service}: use the host's name as the domain has it, and no address (`setspn -Q {service}` \
         shows who has it)"
    )]
    UnknownService {
        /// Which.
        service: String,
        /// Where.
        realm: String,
    },
    /// The clocks differ.
    #[error(
        "the clocks differ by more than five minutes: set this computer's (`timedatectl set-ntp true`) or the host's \
         (`w32tm /resync`)"
    )]
    Skew,
    /// Anything else.
    #[error("{0}")]
    Refused(String),
}

/// Why TLS does not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsTrouble {
    /// The certificate is by nobody who is trusted.
    #[error(
        "its certificate is not by a CA that is trusted here: give that CA (`ca_file`), or pin this certificate by its SHA-256 \
         fingerprint {fingerprint} after comparing it on the host \
         (`Get-ChildItem Cert:\\LocalMachine\\My | Format-List Subject, Thumbprint` shows SHA-1; `certutil -dump FILE` shows SHA-256)"
    )]
    UnknownIssuer {
        /// SHA-256 of what was shown.
        fingerprint: String,
    },
    /// Another certificate than the pinned one.
    #[error(
        "its certificate has the SHA-256 fingerprint {found} and not {pinned}: another host answers, or its certificate was renewed"
    )]
    OtherCertificate {
        /// What is pinned.
        pinned: String,
        /// What was shown.
        found: String,
    },
    /// Of another name.
    #[error(
        "its certificate is not for this name: use a name that is in it, or make one for this name on the host"
    )]
    WrongName,
    /// Out of its time.
    #[error("its certificate is expired or not valid yet: renew it on the host, or set the clocks right")]
    OutOfTime,
    /// Something else about it.
    #[error("its certificate is refused: {0}")]
    Certificate(String),
    /// No handshake.
    #[error("it does not complete the TLS handshake: {0}; is the port one of HTTPS (5986)?")]
    Handshake(String),
    /// What was given for it cannot be used.
    #[error("{0}")]
    Settings(String),
}

fn offering(schemes: &[String]) -> String {
    match schemes {
        [] => String::new(),
        all => format!(" (it offers {})", all.join(", ")),
    }
}

/// Of an account of the host itself: what keeps it from an administrator's rights.
fn filtered(user: &str, place: &str) -> String {
    if !is_local(user, place) {
        return String::new();
    }
    format!(
        ". An account of the host itself that is in Administrators has none of its rights over the network, unless it is the \
         built-in one: put it into the group above, or have its token whole: `{WHOLE_TOKEN}`"
    )
}

/// Lifts what is called remote token filtering, for all accounts of the host.
pub(crate) const WHOLE_TOKEN: &str = "reg add HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Policies\\System /v \
                                      LocalAccountTokenFilterPolicy /t REG_DWORD /d 1 /f";

/// Whether an account is one of the host itself, as far as its name tells: `NAME`, `.\NAME`, `HOST\NAME`.
pub(crate) fn is_local(user: &str, host: &str) -> bool {
    let own = host.split(['.', ':']).next().unwrap_or_default();
    match user.split_once('\\') {
        Some((domain, _)) => domain == "." || domain.eq_ignore_ascii_case(own),
        None => !user.contains('@'),
    }
}

fn scheme_advice(tried: &&'static str) -> String {
    match *tried {
        "Basic" => ": use the login `negotiate`, or on the host `winrm set winrm/config/service/auth @{Basic=\"true\"}`".to_owned(),
        "Negotiate" => ": on the host, `winrm set winrm/config/service/auth @{Negotiate=\"true\"}`".to_owned(),
        _ => ": on the host, `winrm set winrm/config/service/auth @{Certificate=\"true\"}` and a mapping of the certificate to an \
              account"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str) -> Trouble {
        Trouble::Login {
            place: "hv7.example.org:5985".to_owned(),
            user: user.to_owned(),
            tried: "Negotiate",
            offered: vec!["Negotiate".to_owned(), "Kerberos".to_owned()],
        }
    }

    fn scheme(tried: &'static str) -> Trouble {
        Trouble::Scheme {
            place: "hv7:5986".to_owned(),
            tried,
            offered: vec!["Negotiate".to_owned()],
        }
    }

    fn tls(why: TlsTrouble) -> Trouble {
        let place = "hv7:5986".to_owned();
        Trouble::Tls { place, why }
    }

    #[test]
    fn each_mistake_is_told_with_what_mends_it() {
        let place = || "hv7:5986".to_owned();
        let reason = || "why".to_owned();
        for (trouble, mend) in [
            (
                Trouble::Unresolved {
                    host: "hv7".to_owned(),
                    reason: reason(),
                },
                "`nslookup hv7`",
            ),
            (
                Trouble::Unreachable {
                    place: place(),
                    reason: reason(),
                },
                "`winrm quickconfig -transport:https`",
            ),
            (
                Trouble::Dropped {
                    place: place(),
                    port: 5986,
                    after: Duration::from_secs(20),
                },
                "-LocalPort 5986 -Action Allow",
            ),
            (
                tls(TlsTrouble::UnknownIssuer {
                    fingerprint: "0F:0F".to_owned(),
                }),
                "0F:0F",
            ),
            (tls(TlsTrouble::WrongName), "use a name that is in it"),
            (tls(TlsTrouble::OutOfTime), "renew it on the host"),
            (tls(TlsTrouble::Handshake(reason())), "5986"),
            (
                login(r"EXAMPLE\op"),
                "net localgroup \"Remote Management Users\" EXAMPLE\\op /add",
            ),
            (login("op"), "it offers Negotiate, Kerberos"),
            (scheme("Basic"), "service/auth @{Basic=\"true\"}"),
            (scheme("Negotiate"), "service/auth @{Negotiate=\"true\"}"),
            (scheme("Certificate"), "service/auth @{Certificate=\"true\"}"),
            (
                Trouble::Forbidden { place: place() },
                "`winrm configSDDL default`",
            ),
            (
                Trouble::Unsealed { place: place() },
                "use HTTPS or the login `negotiate`",
            ),
            (
                Trouble::Kerberos {
                    place: place(),
                    why: KerberosTrouble::Skew,
                },
                "`w32tm /resync`",
            ),
        ] {
            let told = trouble.to_string();
            assert!(told.contains(mend), "no {mend} in: {told}");
        }
    }

    #[test]
    fn remote_token_filtering_is_told_of_accounts_of_the_host_alone() {
        for (user, is_filtered) in [
            ("op", true),
            (r".\op", true),
            (r"HV7\op", true),
            (r"EXAMPLE\op", false),
            ("op@EXAMPLE.ORG", false),
        ] {
            let told = login(user).to_string();
            assert_eq!(told.contains(WHOLE_TOKEN), is_filtered, "{told}");
        }
    }
}

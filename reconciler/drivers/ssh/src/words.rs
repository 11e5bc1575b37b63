//! What settings are called by whoever asks, and what system is over there: errors name both.

/// How an error names the settings of a host, and which commands it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What to check where a name is not known: `its name in the uri`.
    pub host: &'static str,
    /// How an account is given; `HOST` stands for the host's name: `write it into the uri (qemu+ssh://name@HOST/system)`.
    pub user: &'static str,
    /// How one key is chosen: `?keyfile=`.
    pub key_file: &'static str,
    /// How a file of known hosts is named: `known_hosts in the URI`.
    pub known_hosts: &'static str,
    /// What runs over there.
    pub there: There,
}

/// The system of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Linux and the like.
    Unix,
    /// Windows with its own OpenSSH.
    Windows,
}

impl There {
    /// The command that shows the fingerprint of a host key of that kind on the host.
    pub(crate) fn shows_key(self, short: &str) -> String {
        match self {
            Self::Unix => format!("ssh-keygen -lf /etc/ssh/ssh_host_{short}_key.pub"),
            Self::Windows => format!(r"ssh-keygen -lf C:\ProgramData\ssh\ssh_host_{short}_key.pub"),
        }
    }

    /// How a key is let in.
    pub(crate) fn lets_in(self, port: u16, account: &str) -> String {
        match self {
            Self::Unix => format!("Put your key there: `ssh-copy-id -p {port} {account}`"),
            Self::Windows => {
                r"Add your public key there to C:\ProgramData\ssh\administrators_authorized_keys (of an administrator; of another account to .ssh\authorized_keys in its profile)"
                    .to_owned()
            }
        }
    }

    /// How the server is started.
    pub(crate) fn starts(self) -> &'static str {
        match self {
            Self::Unix => "`sudo systemctl start ssh` (sshd on some)",
            Self::Windows => {
                "`Start-Service sshd` (where there is none: `Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0`)"
            }
        }
    }

    /// How forwarding of TCP is allowed.
    pub(crate) fn allows_forwarding(self) -> &'static str {
        match self {
            Self::Unix => {
                "`AllowTcpForwarding yes` in /etc/ssh/sshd_config (no `DisableForwarding`, and no `restrict` or \
                 `no-port-forwarding` before the key in authorized_keys), then `sudo systemctl reload ssh`"
            }
            Self::Windows => {
                r"`AllowTcpForwarding yes` in C:\ProgramData\ssh\sshd_config (no `DisableForwarding`, and no `restrict` or `no-port-forwarding` before the key), then `Restart-Service sshd`"
            }
        }
    }
}

//! Mistakes in a host's set-up, each with the command that mends it.

use std::io::ErrorKind;

use labyard_driver::DriverError;
use labyard_driver::ids::PoolName;
use libvirt_rpc::{ConnectError, Error, ErrorCode, Reach};

use crate::errors::{Act, Subject};

/// Why a connection could not be made, and the way out.
pub(crate) fn connect(uri: &str, reach: &Reach, error: &Error) -> DriverError {
    let way_out = match error {
        Error::Connect(ConnectError::Permission { group, .. }) => Some(open_the_socket(group.as_deref())),
        Error::Connect(error) => connect_way_out(error, reach).map(str::to_owned),
        Error::Server { error, .. } if error.message.contains("system bus") => Some(format!(
            "libvirtd asks polkit about {who}, and polkit or D-Bus does not run there: be root, or let the group in by \
             auth_unix_rw = \"none\" and unix_sock_group = \"libvirt\" in /etc/libvirt/libvirtd.conf",
            who = match reach {
                Reach::Local => "you",
                _ => "your account there",
            }
        )),
        Error::Server { error, .. } if error.code == ErrorCode::AuthFailed || error.is_denied() => {
            Some(not_let_in(reach))
        }
        _ => None,
    };
    let message = match way_out {
        Some(way_out) => format!("{uri}: {error}. {}{}", way_out[..1].to_uppercase(), &way_out[1..]),
        None => format!("{uri}: {error}"),
    };
    DriverError::Unreachable { message }
}

fn open_the_socket(group: Option<&str>) -> String {
    match group {
        Some(group) => {
            format!("let your account in: `sudo usermod -aG {group} $USER`, then log in again")
        }
        None => "be root, or give the socket a group (unix_sock_group = \"libvirt\", unix_sock_rw_perms = \"0770\" in \
                 /etc/libvirt/libvirtd.conf) and let your account in: `sudo usermod -aG libvirt $USER`, then log in again"
            .to_owned(),
    }
}

fn not_let_in(reach: &Reach) -> String {
    match reach {
        Reach::Local => {
            "your account may not manage libvirt: `sudo usermod -aG libvirt $USER`, then log in again; or a polkit rule for \
             org.libvirt.unix.manage. To look alone, ?mode=ro is enough"
                .to_owned()
        }
        Reach::Ssh(host) => {
            let account = host.user.as_deref().unwrap_or("ACCOUNT");
            format!(
                "the account you log in with may not manage libvirt there: `sudo usermod -aG libvirt {account}` on \
                 {}, or with `access_drivers = [ \"polkit\" ]` a rule that lets it",
                host.host
            )
        }
        Reach::Tls(host) => format!(
            "libvirt on {} does not let this certificate open it: see auth_tls, tls_allowed_dn_list and access_drivers \
             in its /etc/libvirt/libvirtd.conf",
            host.host
        ),
    }
}

fn connect_way_out(error: &ConnectError, reach: &Reach) -> Option<&'static str> {
    const START: &str = "start libvirt: `sudo systemctl start libvirtd`, or where its daemons are separate `sudo \
        systemctl start virtqemud virtnetworkd virtstoraged virtproxyd`; if it is not installed, on Debian and Ubuntu \
        `sudo apt-get install libvirt-daemon-system qemu-system-x86`";
    match error {
        ConnectError::NoSocket { .. } => Some(START),
        ConnectError::OnlyModular { .. } => Some("start it: `sudo systemctl start virtproxyd.socket`"),
        ConnectError::Socket { source, .. }
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Some(START)
        }
        ConnectError::Silent { .. } if *reach != Reach::Local => Some(
            "the daemon there hangs, or the network between; restarting it does not touch guests that run: `sudo \
             systemctl restart libvirtd` on the host",
        ),
        ConnectError::Silent { .. } => Some(
            "the daemon hangs; restarting it does not touch guests that run: `sudo systemctl restart libvirtd`",
        ),
        // Those of other transports say it themselves.
        _ => None,
    }
}

/// A pool that is not there. Only who asked for the pool itself, or for something new in it, is told "missing": to who
/// asked for a volume this must not read as "the volume is gone".
pub(crate) fn no_pool(uri: &str, pool: &PoolName, act: &Act) -> DriverError {
    let virsh = format!("sudo virsh -c '{uri}'");
    let way_out = format!(
        "make it with `{virsh} pool-define-as {pool} dir --target /var/lib/libvirt/images && {virsh} pool-build {pool} \
         && {virsh} pool-start {pool} && {virsh} pool-autostart {pool}`, or name another with storage_pool"
    );
    match act.subject() {
        Subject::Pool => DriverError::Missing {
            what: format!("storage pool '{pool}' ({way_out})"),
        },
        Subject::Other => act.refused(format!("the host has no storage pool '{pool}': {way_out}")),
    }
}

/// A pool that is not started.
pub(crate) fn pool_inactive(uri: &str, pool: &PoolName, doing: &str) -> DriverError {
    DriverError::Refused {
        doing: doing.to_owned(),
        message: start_pool(uri, pool),
    }
}

/// How a pool is started.
pub(crate) fn start_pool(uri: &str, pool: &PoolName) -> String {
    let virsh = format!("sudo virsh -c '{uri}'");
    format!(
        "the storage pool '{pool}' is not started: `{virsh} pool-start {pool} && {virsh} pool-autostart {pool}`"
    )
}

/// A pool in which something of ours lies and that the host does not have any more.
pub(crate) fn pool_gone(uri: &str, pool: &PoolName) -> String {
    format!(
        "the host has no storage pool '{pool}' any more: define it again over the directory where it was, `sudo virsh \
         -c '{uri}' pool-define-as {pool} dir --target …`, and start it"
    )
}

/// A pool whose volumes are of another kind than what is to be made.
pub(crate) fn pool_of_wrong_volumes(pool: &PoolName, wanted: &str, doing: &str) -> DriverError {
    DriverError::Refused {
        doing: doing.to_owned(),
        message: format!("the volumes of storage pool '{pool}' are not {wanted}"),
    }
}

/// A pool that holds no files.
pub(crate) fn pool_of_other_kind(pool: &PoolName, kind: &str, doing: &str) -> DriverError {
    let message = format!(
        "the storage pool '{pool}' is of type '{kind}'; disks are made in pools of type dir, fs, netfs or logical"
    );
    DriverError::Refused {
        doing: doing.to_owned(),
        message,
    }
}

/// What keeps a machine from starting and can be seen no sooner.
pub(crate) fn start(error: &Error) -> Option<String> {
    let Error::Server { error, .. } = error else {
        return None;
    };
    let text = error.message.trim_end();
    let no_vlan = text.contains("adding vlan filter") && text.contains("not supported");
    no_vlan.then(|| {
        format!(
            "the host's kernel does not filter VLANs on bridges ({text}): it needs CONFIG_BRIDGE_VLAN_FILTERING; else leave \
             vlan out, and put the bridge itself into the VLAN"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_names_the_command_that_mends_it() {
        let missing = Error::Connect(ConnectError::NoSocket {
            looked: "/run/libvirt".to_owned(),
        });
        let denied = Error::Connect(ConnectError::Permission {
            path: "/run/libvirt/libvirt-sock".into(),
            group: Some("libvirt".to_owned()),
        });
        let modular = Error::Connect(ConnectError::OnlyModular {
            found: "/run/virtqemud".into(),
        });
        let silent = Error::Connect(ConnectError::Silent {
            after: std::time::Duration::from_secs(10),
        });
        for (error, command) in [
            (missing, "systemctl start libvirtd"),
            (denied, "usermod -aG libvirt $USER"),
            (modular, "systemctl start virtproxyd"),
            (silent, "systemctl restart libvirtd"),
        ] {
            let text = connect("qemu:///system", &Reach::Local, &error).to_string();
            assert!(text.contains(command), "{text}");
        }
        for act in [
            Act::on("reading", "volume a"),
            Act::on_pool("reading", "storage pool default"),
        ] {
            let text = no_pool("qemu:///system", &PoolName::from("default"), &act).to_string();
            assert!(
                text.contains("virsh -c 'qemu:///system' pool-define-as default dir"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_kernel_without_vlans_on_bridges_is_named_as_what_is_missing() {
        let refused = |message: &str| Error::Server {
            procedure: "X",
            error: Box::new(libvirt_rpc::ServerError {
                code: ErrorCode::SystemError,
                domain: libvirt_rpc::ErrorDomain::None,
                level: libvirt_rpc::ErrorLevel::Error,
                message: message.to_owned(),
                str1: None,
                str2: None,
                str3: None,
                int1: 95,
                int2: 0,
            }),
        };
        let told = start(&refused(
            "error adding vlan filter to interface vnet0: Operation not supported",
        ));
        assert!(told.unwrap().contains("CONFIG_BRIDGE_VLAN_FILTERING"));
        assert_eq!(start(&refused("no such file")), None);
    }
}

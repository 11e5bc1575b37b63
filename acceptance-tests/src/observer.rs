//! A host seen through libvirt's C library: what others wrote tells what our client did.

use crate::base64;
use crate::error::{HarnessError, Result};
use crate::wait::{Look, until};
use serde_json::json;
use std::time::Duration;
use virt::connect::Connect;
use virt::domain::{Domain, DomainState};
use virt::storage_vol::StorageVol;
use virt::sys;

/// A domain as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSeen {
    /// Its name.
    pub name: String,
    /// Its UUID, with hyphens.
    pub uuid: String,
    /// What it does.
    pub state: DomainState,
    /// Whether its definition stays when it is off.
    pub persistent: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
}

/// A volume as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSeen {
    /// Its name in the pool.
    pub name: String,
    /// Its file.
    pub path: String,
    /// How large a guest sees it, in bytes.
    pub capacity: u64,
    /// What it takes on the host, in bytes.
    pub allocation: u64,
    /// libvirt's description of it.
    pub xml: String,
}

/// A network as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSeen {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub active: bool,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// Its persistent definition.
    pub xml: String,
}

/// Which of a domain's two descriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Description {
    /// What runs now.
    Live,
    /// What the next start takes.
    Persistent,
}

/// A connection by the C library.
#[derive(Debug)]
pub struct Observer {
    connection: Connect,
}

impl Observer {
    /// Connects.
    pub fn connect(uri: &str) -> Result<Self> {
        Ok(Self {
            connection: Connect::open(Some(uri))?,
        })
    }

    /// Connects by the socket that only lets read.
    pub fn connect_read_only(uri: &str) -> Result<Self> {
        Ok(Self {
            connection: Connect::open_read_only(Some(uri))?,
        })
    }

    /// The connection itself: for what is done to a host behind the provider's back.
    pub fn connection(&self) -> &Connect {
        &self.connection
    }

    /// The library's handle of a domain.
    pub fn handle(&self, name: &str) -> Result<Domain> {
        Ok(self.connection.lookup_domain_by_name(name)?)
    }

    /// All domains, by name.
    pub fn domains(&self) -> Result<Vec<DomainSeen>> {
        let all = self.connection.list_all_domains(0)?;
        let mut seen = all.iter().map(domain_seen).collect::<Result<Vec<_>>>()?;
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// One domain, if it is there.
    pub fn domain(&self, name: &str) -> Result<Option<DomainSeen>> {
        Ok(self.domains()?.into_iter().find(|domain| domain.name == name))
    }

    /// What a domain does; `None` if there is none of that name.
    pub fn state(&self, name: &str) -> Result<Option<DomainState>> {
        Ok(self.domain(name)?.map(|domain| domain.state))
    }

    /// Waits until a domain does what is wanted.
    pub fn wait_for_state(&self, name: &str, wanted: DomainState, limit: Duration) -> Result<()> {
        until(&format!("{name} {wanted:?}"), limit, || {
            let state = self.state(name)?;
            Ok(if state == Some(wanted) {
                Look::Holds(())
            } else {
                Look::NotYet(format!("{state:?}"))
            })
        })
    }

    /// A domain's XML.
    pub fn domain_xml(&self, name: &str, which: Description) -> Result<String> {
        let flags = match which {
            Description::Live => 0,
            Description::Persistent => sys::VIR_DOMAIN_XML_INACTIVE,
        };
        Ok(self.handle(name)?.xml_desc(flags)?)
    }

    /// The volumes of a pool, by name, read from its directory anew.
    pub fn volumes(&self, pool: &str) -> Result<Vec<VolumeSeen>> {
        let pool = self.connection.lookup_storage_pool_by_name(pool)?;
        pool.refresh(0)?;
        let all = pool.list_all_volumes(0)?;
        let mut seen = all.iter().map(volume_seen).collect::<Result<Vec<_>>>()?;
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// All networks, by name.
    pub fn networks(&self) -> Result<Vec<NetworkSeen>> {
        let mut seen = Vec::new();
        for network in self.connection.list_all_networks(0)? {
            seen.push(NetworkSeen {
                name: network.name()?,
                active: network.is_active()?,
                autostart: network.autostart()?,
                xml: network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE)?,
            });
        }
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seen)
    }

    /// Pulls a guest's plug.
    pub fn pull_plug(&self, name: &str) -> Result<()> {
        Ok(self.handle(name)?.destroy()?)
    }

    /// Asks the guest's agent, and hands back its `return`.
    pub fn agent(&self, name: &str, command: &serde_json::Value) -> Result<serde_json::Value> {
        const SECONDS: i32 = 5;
        let answer = self
            .handle(name)?
            .qemu_agent_command(&command.to_string(), SECONDS, 0)?;
        let read: Option<serde_json::Value> = serde_json::from_str(&answer).ok();
        read.and_then(|mut value| value.get_mut("return").map(serde_json::Value::take))
            .ok_or_else(|| HarnessError::Unreadable {
                what: format!("the agent of {name}"),
                text: answer,
            })
    }

    /// A small text file of a guest, read by its agent.
    pub fn agent_reads(&self, name: &str, path: &str) -> Result<String> {
        let ask = |command, arguments| self.agent(name, &json!({"execute": command, "arguments": arguments}));
        let handle = ask("guest-file-open", json!({"path": path}))?;
        let read = ask("guest-file-read", json!({"handle": handle, "count": 4096}));
        ask("guest-file-close", json!({"handle": handle}))?;
        let read = read?;
        let text = read["buf-b64"].as_str().and_then(base64::decode);
        text.ok_or_else(|| HarnessError::Unreadable {
            what: format!("the agent of {name}"),
            text: read.to_string(),
        })
    }

    /// What changes with each boot of a guest and with nothing else, by its agent.
    pub fn boot_id(&self, name: &str) -> Result<String> {
        Ok(self
            .agent_reads(name, "/proc/sys/kernel/random/boot_id")?
            .trim()
            .to_owned())
    }

    /// Waits until the guest's agent answers.
    pub fn wait_for_agent(&self, name: &str, limit: Duration) -> Result<()> {
        until(&format!("agent of {name}"), limit, || {
            Ok(match self.agent(name, &json!({"execute": "guest-ping"})) {
                Ok(_) => Look::Holds(()),
                Err(error) => Look::NotYet(error.to_string()),
            })
        })
    }
}

fn domain_seen(domain: &Domain) -> Result<DomainSeen> {
    let (state, _) = domain.state()?;
    Ok(DomainSeen {
        name: domain.name()?,
        uuid: domain.uuid_string()?,
        state: state.unwrap_or(DomainState::NoState),
        persistent: domain.is_persistent()?,
        autostart: domain.autostart()?,
    })
}

fn volume_seen(volume: &StorageVol) -> Result<VolumeSeen> {
    let info = volume.info()?;
    Ok(VolumeSeen {
        name: volume.name()?,
        path: volume.path()?,
        capacity: info.capacity,
        allocation: info.allocation,
        xml: volume.xml_desc(0)?,
    })
}

//! What stands inside a running guest, and what its agent does there when asked.
//!
//! A file below `/run`, `/tmp`, `/proc` or `/dev` is memory and gone with the run; any other is on the machine's first disk, in
//! the layer that is written to. Users, keys and passwords are files too. A guest knows every user but `stranger`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use labyard_driver::DriverError;
use labyard_driver::driver::AgentState;
use labyard_driver::guest::{GuestAnswer, GuestTask};
use labyard_driver::ids::{ObjectId, UnixMillis};
use labyard_driver::observed::Attachment;
use serde::{Deserialize, Serialize};

use super::guest::Run;
use super::{State, busy, refused};
use crate::clock::Millis;
use crate::random::hash;

/// A user that no guest has.
const NOBODY: &str = "stranger";
/// Where a guest without a disk keeps its files: in memory, all of them.
const IN_MEMORY: [&str; 4] = ["/run/", "/tmp/", "/proc/", "/dev/"];
/// What makes a system this one machine.
const OWN: [&str; 2] = ["/etc/ssh/ssh_host_ed25519_key", "/etc/machine-id"];
/// Where that is set aside.
const ASIDE: &str = "/run/labyard-sealed";
/// The port that guests listen on.
const SSH: u16 = 22;
/// What the kernel calls established, and listening.
const ESTABLISHED: u8 = 0x01;
const LISTENING: u8 = 0x0a;
/// A chain longer than this is a loop.
const LONGEST_CHAIN: usize = 32;

/// Files by their paths.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What a running guest has in memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Inside {
    files: Files,
    clock: Option<Set>,
    /// Nothing may be written to its file systems.
    #[serde(default)]
    frozen: bool,
    /// Who is connected to it from outside.
    connected: Vec<Ipv4Addr>,
}

/// A clock that was set.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Set {
    to: UnixMillis,
    at: Millis,
}

impl Inside {
    /// What its clock shows; one that was never set shows the host's.
    fn time(&self, now: Millis) -> UnixMillis {
        self.clock.map_or(UnixMillis(now), |set| {
            UnixMillis(set.to.0 + now.saturating_sub(set.at))
        })
    }

    /// The guest stood still from one time to another: its clock did too, and nobody is connected any more.
    pub(super) fn stood_still(&mut self, from: Millis, until: Millis) {
        self.clock = Some(Set {
            to: self.time(from),
            at: until,
        });
        self.connected.clear();
    }
}

impl Run {
    /// Its first disk.
    fn disk(&self) -> Option<&str> {
        self.definition.disks.first().map(|disk| disk.path.as_str())
    }
}

impl State {
    /// Somebody opens connections to a guest from outside, in place of those before.
    pub(super) fn connect(&mut self, id: &ObjectId, from: &[Ipv4Addr]) -> Result<(), DriverError> {
        let machine = self.machine_mut(id)?;
        let doing = format!("connecting to machine {}", machine.host_name);
        let run = machine
            .run_mut()
            .filter(|run| run.has_address())
            .ok_or_else(|| refused(doing, "no route to host"))?;
        run.inside.connected = from.to_vec();
        Ok(())
    }

    pub(crate) fn ask_guest(
        &mut self,
        id: &ObjectId,
        task: &GuestTask,
        now: Millis,
    ) -> Result<GuestAnswer, DriverError> {
        let machine = self.machine_ref(id)?;
        let doing = format!("asking the agent of machine {}", machine.host_name);
        let Some(run) = machine.run().filter(|run| run.agent() == AgentState::Answers) else {
            return Err(busy(doing, "QEMU guest agent is not connected"));
        };
        if run.inside.frozen && !matches!(task, GuestTask::Freeze | GuestTask::Thaw | GuestTask::Time) {
            return Err(DriverError::Unsupported {
                what: doing,
                message: "the command is not allowed while the file systems are frozen".to_owned(),
            });
        }
        match task {
            GuestTask::Seal => self.seal(id).map(done),
            GuestTask::Unseal => self.unseal(id).map(done),
            GuestTask::Freeze => self.set_frozen(id, true).map(done),
            GuestTask::Thaw => self.set_frozen(id, false).map(done),
            GuestTask::Time => Ok(GuestAnswer::Time(run.inside.time(now))),
            GuestTask::SetTime(to) => {
                let set = Set { to: *to, at: now };
                if let Some(run) = self.machine_mut(id)?.run_mut() {
                    run.inside.clock = Some(set);
                }
                Ok(GuestAnswer::Done)
            }
            GuestTask::ReadFile(path) => Ok(GuestAnswer::File(self.guest_file(run, path))),
            GuestTask::WriteFile { path, content } => {
                if !path.starts_with('/') {
                    return Err(refused(doing, format!("failed to open file '{path}'")));
                }
                self.write_guest_file(id, path, content.clone()).map(done)
            }
            GuestTask::Keys { user } => {
                known(user, &doing)?;
                Ok(GuestAnswer::Keys(self.keys(run, user)))
            }
            GuestTask::AddKey { user, key } => {
                known(user, &doing)?;
                let mut keys = self.keys(run, user);
                if !keys.contains(key) {
                    keys.push(key.clone());
                }
                self.write_keys(id, user, &keys).map(done)
            }
            GuestTask::RemoveKey { user, key } => {
                known(user, &doing)?;
                let mut keys = self.keys(run, user);
                keys.retain(|there| there != key);
                self.write_keys(id, user, &keys).map(done)
            }
            GuestTask::SetPassword { user, password } => {
                known(user, &doing)?;
                // As any system keeps it: not the password itself.
                let shadow = format!("{:016x}", hash(password.reveal().as_bytes()));
                let path = format!("/etc/shadow.d/{user}");
                self.write_guest_file(id, &path, shadow.into_bytes()).map(done)
            }
        }
    }

    fn set_frozen(&mut self, id: &ObjectId, frozen: bool) -> Result<(), DriverError> {
        if let Some(run) = self.machine_mut(id)?.run_mut() {
            run.inside.frozen = frozen;
        }
        Ok(())
    }

    /// What is the system's own goes from the disk to the memory, unless something lies there.
    fn seal(&mut self, id: &ObjectId) -> Result<(), DriverError> {
        for path in OWN {
            let Some(run) = self.machine_ref(id)?.run() else {
                break;
            };
            let there = self.guest_file(run, path).filter(|content| !content.is_empty());
            if let Some(content) = there {
                self.write_guest_file(id, &format!("{ASIDE}{path}"), content)?;
                self.write_guest_file(id, path, Vec::new())?;
            }
        }
        Ok(())
    }

    fn unseal(&mut self, id: &ObjectId) -> Result<(), DriverError> {
        for path in OWN {
            let aside = format!("{ASIDE}{path}");
            let Some(run) = self.machine_mut(id)?.run_mut() else {
                break;
            };
            if let Some(content) = run.inside.files.remove(&aside) {
                self.write_guest_file(id, path, content)?;
            }
        }
        Ok(())
    }

    fn keys(&self, run: &Run, user: &str) -> Vec<String> {
        let file = self.guest_file(run, &keys_path(user)).unwrap_or_default();
        let text = String::from_utf8_lossy(&file).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    fn write_keys(&mut self, id: &ObjectId, user: &str, keys: &[String]) -> Result<(), DriverError> {
        let text: String = keys.iter().map(|key| format!("{key}\n")).collect();
        self.write_guest_file(id, &keys_path(user), text.into_bytes())
    }

    fn guest_file(&self, run: &Run, path: &str) -> Option<Vec<u8>> {
        match path {
            "/proc/net/tcp" => Some(self.sockets(run).into_bytes()),
            "/proc/net/tcp6" => Some(HEADER.as_bytes().to_vec()),
            path => match on_disk(path, run).and_then(|disk| self.layers(disk).find_map(|of| of.get(path))) {
                Some(found) => Some(found.clone()),
                None => run.inside.files.get(path).cloned(),
            },
        }
    }

    /// What was written in each layer of a disk, the uppermost first.
    fn layers(&self, disk: &str) -> impl Iterator<Item = &Files> {
        let below = |volume: &&super::Volume| self.volumes.get(volume.backing.as_deref()?);
        std::iter::successors(self.volumes.get(disk), below)
            .take(LONGEST_CHAIN)
            .map(|volume| &volume.files)
    }

    /// All that guests wrote to a disk.
    pub(super) fn written_on(&self, disk: &str) -> Files {
        let layers: Vec<_> = self.layers(disk).collect();
        layers.into_iter().rev().flat_map(|files| files.clone()).collect()
    }

    fn write_guest_file(&mut self, id: &ObjectId, path: &str, content: Vec<u8>) -> Result<(), DriverError> {
        let run = self.machine_ref(id)?.run();
        let disk = run.and_then(|run| on_disk(path, run)).map(str::to_owned);
        if let Some(volume) = disk.and_then(|disk| self.volumes.get_mut(&disk)) {
            volume.files.insert(path.to_owned(), content);
        } else if let Some(run) = self.machine_mut(id)?.run_mut() {
            run.inside.files.insert(path.to_owned(), content);
        }
        Ok(())
    }

    /// The table of TCP sockets as Linux writes it.
    fn sockets(&self, run: &Run) -> String {
        let own = self.own_address(run);
        let line = |number: usize, local: Ipv4Addr, remote: (Ipv4Addr, u16), state: u8| {
            let (local, peer) = (hex(local), hex(remote.0));
            format!(
                "{number:4}: {local}:{SSH:04X} {peer}:{:04X} {state:02X}\n",
                remote.1
            )
        };
        let any = Ipv4Addr::UNSPECIFIED;
        let listens = line(0, any, (any, 0), LISTENING);
        let connected = run.inside.connected.iter().enumerate();
        let open = connected.map(|(n, from)| line(n + 1, own, (*from, 40_000), ESTABLISHED));
        format!("{HEADER}{listens}{}", open.collect::<String>())
    }

    fn own_address(&self, run: &Run) -> Ipv4Addr {
        let leased = run.definition.nics.iter().find_map(|nic| {
            let Attachment::Network(name) = &nic.attachment else {
                return None;
            };
            match self.network_named(name)?.leases.get(&nic.mac)?.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }
        });
        leased.unwrap_or(Ipv4Addr::new(203, 0, 113, 1))
    }
}

const HEADER: &str = "  sl  local_address rem_address   st\n";

/// An address as the kernel writes it: a number of the machine's byte order.
fn hex(address: Ipv4Addr) -> String {
    format!("{:08X}", u32::from_le_bytes(address.octets()))
}

fn done((): ()) -> GuestAnswer {
    GuestAnswer::Done
}

fn known(user: &str, doing: &str) -> Result<(), DriverError> {
    match user {
        NOBODY => Err(refused(doing, format!("user '{user}' does not exist"))),
        _ => Ok(()),
    }
}

fn keys_path(user: &str) -> String {
    match user {
        "root" => "/root/.ssh/authorized_keys".to_owned(),
        user => format!("/home/{user}/.ssh/authorized_keys"),
    }
}

/// The disk that a file lies on.
fn on_disk<'a>(path: &str, run: &'a Run) -> Option<&'a str> {
    match IN_MEMORY.iter().any(|directory| path.starts_with(directory)) {
        true => None,
        false => run.disk(),
    }
}

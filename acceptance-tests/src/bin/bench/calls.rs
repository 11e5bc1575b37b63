//! Calls to libvirt, counted on the wire between the provider and the daemon.

use crate::cycles::Verb;
use crate::subjects::{Programs, Subject, configuration};
use labyard_acceptance_tests::error::Result;
use labyard_acceptance_tests::{HarnessError, Host};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The calls of each command with so many machines.
#[derive(Serialize, Deserialize)]
pub struct Counted {
    /// How many machines.
    pub machines: usize,
    /// Calls by command.
    pub calls: BTreeMap<Verb, usize>,
}

/// Goes through one cycle of labyard for each size, with every call counted.
pub fn measure(programs: &Programs, host: &Host, sizes: &[usize]) -> Result<Vec<Counted>> {
    let wire = Wire::tap(&host.directory().join("libvirt-sock"))?;
    let uri = format!("qemu:///system?socket={}", wire.socket.display());
    let mut counted = Vec::new();
    for &machines in sizes {
        eprintln!("{machines} machines, calls to libvirt");
        let terraform = programs.terraform(Subject::Labyard)?;
        terraform.write("main.tf", &configuration(Subject::Labyard, machines, &uri))?;
        let mut calls = BTreeMap::new();
        for verb in Verb::ALL {
            let before = wire.calls.load(Ordering::SeqCst);
            verb.run(&terraform)?;
            calls.insert(verb, wire.calls.load(Ordering::SeqCst) - before);
        }
        counted.push(Counted { machines, calls });
    }
    Ok(counted)
}

/// A socket before the daemon's own. It lives as long as this process.
struct Wire {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    calls: Arc<AtomicUsize>,
}

impl Wire {
    fn tap(daemon: &Path) -> Result<Self> {
        let failed = |source| HarnessError::File {
            what: "listen before libvirt".to_owned(),
            source,
        };
        let directory = tempfile::TempDir::new().map_err(failed)?;
        let socket = directory.path().join("sock");
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        let calls = Arc::new(AtomicUsize::new(0));
        let (daemon, counter) = (daemon.to_owned(), calls.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client whose daemon does not answer sees its connection closed.
                let Ok(server) = UnixStream::connect(&daemon) else {
                    continue;
                };
                let counter = counter.clone();
                if let (Ok(to_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) {
                    thread::spawn(move || pass(client, server, |frame| count(frame, &counter)));
                    thread::spawn(move || pass(from_server, to_client, |_| ()));
                }
            }
        });
        Ok(Self {
            _directory: directory,
            socket,
            calls,
        })
    }
}

/// Passes whole messages on until one side closes, then closes the other.
fn pass(mut from: UnixStream, mut to: UnixStream, mut see: impl FnMut(&[u8])) {
    while let Ok(message) = message(&mut from) {
        see(&message);
        if to.write_all(&message).is_err() {
            break;
        }
    }
    // It may be closed already.
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// One message of libvirt's RPC: its length, which counts itself, and the rest.
fn message(from: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut message = length.to_vec();
    message.resize(usize::try_from(u32::from_be_bytes(length)).unwrap_or(4).max(4), 0);
    from.read_exact(&mut message[4..])?;
    Ok(message)
}

/// libvirt's header: length, program, version, procedure, type, serial, status; a call has type 0. Pings of the
/// keep-alive program are no calls.
fn count(message: &[u8], calls: &AtomicUsize) {
    const REMOTE: u32 = 0x2000_8086;
    const QEMU: u32 = 0x2000_8087;
    let word = |index: usize| {
        let bytes = message.get(index * 4..index * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    if matches!(word(1), Some(REMOTE | QEMU)) && word(4) == Some(0) {
        calls.fetch_add(1, Ordering::SeqCst);
    }
}

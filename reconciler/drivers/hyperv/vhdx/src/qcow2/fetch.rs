//! Brings a piece that was planned: few reads, and what is compressed unpacked off the runtime's threads.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Qcow2Error;
use super::header::Compression;
use super::unpack::Unpacker;
use super::walk::{Form, Part, Plan};
use crate::io::{ReadAt, read_exact};
use crate::source::Piece;

/// How far apart two parts may be in the file and still be read at once.
const GAP: u64 = 64 << 10;
/// The most that is read at once, unless a single part is longer.
const SPAN: u64 = 2 << 20;

/// What has to be known of the image.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub(super) file: Arc<dyn ReadAt>,
    pub(super) compression: Compression,
    pub(super) cluster: usize,
}

/// Parts that are read at once.
struct Group {
    from: u64,
    to: u64,
    parts: Vec<Part>,
}

impl Fetcher {
    pub(super) async fn fetch(self, plan: Plan) -> Result<Piece, Qcow2Error> {
        if let [part] = &plan.parts[..]
            && part.form == Form::Plain
            && part.length == plan.length
        {
            let bytes = self.read(part.host, part.length).await?;
            return Ok(Piece {
                offset: plan.guest,
                bytes,
            });
        }
        let mut read = Vec::new();
        for group in groups(&plan.parts) {
            // No more than the parts' lengths and the gaps between them.
            let bytes = self.read(group.from, (group.to - group.from) as usize).await?;
            read.push((group, bytes));
        }
        let (compression, cluster) = (self.compression, self.cluster);
        let made = tokio::task::spawn_blocking(move || assemble(&plan, &read, compression, cluster)).await;
        made.map_err(|error| Qcow2Error::Io {
            what: "clusters",
            offset: 0,
            error: io::Error::other(error),
        })?
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Bytes, Qcow2Error> {
        let what = "clusters";
        let bytes = read_exact(&*self.file, offset, length).await;
        bytes.map_err(|error| Qcow2Error::Io { what, offset, error })
    }
}

/// Parts that follow each other in the file, in the order of the disk: so they do in images that were made in one go.
fn groups(parts: &[Part]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for part in parts {
        // The walk looked at both ends.
        let (from, to) = (part.host, part.host + part.stored() as u64);
        match groups.last_mut() {
            Some(last)
                if from >= last.from
                    && from <= last.to.saturating_add(GAP)
                    && to.max(last.to) - last.from <= SPAN =>
            {
                last.to = last.to.max(to);
                last.parts.push(*part);
            }
            _ => groups.push(Group {
                from,
                to,
                parts: vec![*part],
            }),
        }
    }
    groups
}

fn assemble(
    plan: &Plan,
    read: &[(Group, Bytes)],
    compression: Compression,
    cluster: usize,
) -> Result<Piece, Qcow2Error> {
    let mut bytes = vec![0; plan.length];
    let mut unpacker = Unpacker::new(compression, cluster);
    for (group, from) in read {
        for part in &group.parts {
            let start = (part.host - group.from) as usize;
            let stored = &from[start..start + part.stored()];
            let into = &mut bytes[part.at..part.at + part.length];
            match part.form {
                Form::Plain => into.copy_from_slice(stored),
                Form::Packed(_) => unpacker.unpack(stored, into).map_err(|why| Qcow2Error::Packed {
                    guest: plan.guest + part.at as u64,
                    why,
                })?,
            }
        }
    }
    Ok(Piece {
        offset: plan.guest,
        bytes: bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(host: u64, form: Form) -> Part {
        Part {
            at: 0,
            length: 64 << 10,
            host,
            form,
        }
    }

    #[test]
    fn neighbours_are_read_at_once_and_strangers_are_not() {
        let parts = [
            part(1000, Form::Packed(500)),
            // In the same sector.
            part(1400, Form::Packed(900)),
            part(2300 + GAP, Form::Packed(900)),
            // Backwards.
            part(512, Form::Packed(100)),
            part(100 << 20, Form::Plain),
        ];
        let found: Vec<_> = groups(&parts)
            .iter()
            .map(|group| (group.from, group.to, group.parts.len()))
            .collect();
        assert_eq!(
            found,
            [
                (1000, 3200 + GAP, 3),
                (512, 612, 1),
                (100 << 20, (100 << 20) + (64 << 10), 1)
            ]
        );
    }

    #[test]
    fn no_read_is_longer_than_two_mib_unless_a_part_is() {
        let parts: Vec<_> = (0..100)
            .map(|at| part(at * 100_000, Form::Packed(100_000)))
            .collect();
        assert!(groups(&parts).iter().all(|group| group.to - group.from <= SPAN));
        let parts = [part(0, Form::Packed(4 << 20)), part(10, Form::Packed(10))];
        assert_eq!(groups(&parts).len(), 2);
    }
}

//! Goes through the tables in the order of the disk and says where each piece of it is.

use std::sync::Arc;

use bytes::Bytes;

use super::Qcow2Error;
use super::entry::{Cluster, OFFSET};
use super::header::{Header, u64_at};
use crate::io::{ReadAt, read_exact};
use crate::source::PIECE;

/// How many bytes of the L1 table are held.
const PAGE: u64 = 64 << 10;

/// Where a piece of the disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// In the disk.
    pub(super) guest: u64,
    pub(super) length: usize,
    pub(super) parts: Vec<Part>,
}

/// Where a part of a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// In the piece.
    pub(super) at: usize,
    pub(super) length: usize,
    /// In the file.
    pub(super) host: u64,
    pub(super) form: Form,
}

/// How a part stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    /// So many bytes give a whole cluster, of which the part is the beginning.
    Packed(usize),
}

impl Part {
    /// How many bytes of the file it is.
    pub(super) fn stored(&self) -> usize {
        match self.form {
            Form::Plain => self.length,
            Form::Packed(length) => length,
        }
    }
}

/// A walk. It holds 64 KiB of the L1 table, one L2 table (2 MiB at most) and one plan.
pub(super) struct Walk {
    file: Arc<dyn ReadAt>,
    header: Header,
    /// The file's.
    length: u64,
    /// The next byte of the disk; at the start of a cluster.
    guest: u64,
    l1: Option<(u64, Bytes)>,
    l2: Option<(u64, Bytes)>,
    /// The piece up to `guest`. Here and not in `next`, so that nothing is lost when that is given up while it reads.
    plan: Option<Plan>,
}

impl Walk {
    pub(super) fn new(file: Arc<dyn ReadAt>, header: Header, length: u64) -> Result<Self, Qcow2Error> {
        let end = header.l1_offset.checked_add(header.l1_entries * 8);
        if !header.l1_offset.is_multiple_of(header.cluster()) || end.is_none_or(|end| end > length) {
            return Err(Qcow2Error::Table {
                what: "L1",
                offset: header.l1_offset,
                length,
            });
        }
        Ok(Self {
            file,
            header,
            length,
            guest: 0,
            l1: None,
            l2: None,
            plan: None,
        })
    }

    /// The next piece that is not all zeros by what the tables say.
    pub(super) async fn next(&mut self) -> Result<Option<Plan>, Qcow2Error> {
        let window = self.header.cluster().max(PIECE as u64);
        while self.guest < self.header.size {
            let at = self.guest / window;
            if self.plan.as_ref().is_some_and(|plan| plan.guest / window != at) {
                break;
            }
            let span = self.header.l2_span();
            let l2 = self.l1_entry(self.guest / span).await?;
            if l2 == 0 {
                self.guest = (self.guest / span + 1) * span;
                continue;
            }
            let table = self.l2_table(l2).await?;
            let index = self.guest % span / self.header.cluster();
            let cluster = Cluster::decode(&table, index, &self.header, self.guest)?;
            self.add(cluster)?;
            self.guest += self.header.cluster();
        }
        Ok(self.plan.take())
    }

    /// Adds the cluster at `self.guest` to the plan.
    fn add(&mut self, cluster: Cluster) -> Result<(), Qcow2Error> {
        let size = self.header.cluster();
        match cluster {
            Cluster::Zero => {}
            Cluster::Plain(at) => self.add_plain(self.guest, at, size)?,
            Cluster::Parts { at, present } => {
                let part = size / 32;
                let mut bit = 0;
                while bit < 32 {
                    let run = u64::from((present >> bit).trailing_ones());
                    if run > 0 {
                        let from = u64::from(bit) * part;
                        self.add_plain(self.guest + from, at + from, run * part)?;
                    }
                    bit += (run as u32).max(1);
                }
            }
            Cluster::Packed { at, length } => {
                // Sectors are counted whole, and the file need not be padded to the last one's end.
                let there = self.length.saturating_sub(at).min(length);
                if there == 0 {
                    return Err(self.outside(self.guest, at));
                }
                // Both at most two clusters.
                let form = Form::Packed(there as usize);
                self.push(self.guest, size, at, form);
            }
        }
        Ok(())
    }

    fn add_plain(&mut self, guest: u64, host: u64, length: u64) -> Result<(), Qcow2Error> {
        // What lies behind the disk's end is nobody's.
        let length = length.min(self.header.size.saturating_sub(guest));
        if length == 0 {
            return Ok(());
        }
        // Offsets have 56 bits.
        if host + length > self.length {
            return Err(self.outside(guest, host));
        }
        self.push(guest, length, host, Form::Plain);
        Ok(())
    }

    fn push(&mut self, guest: u64, length: u64, host: u64, form: Form) {
        let length = length.min(self.header.size - guest) as usize;
        let plan = self.plan.get_or_insert(Plan {
            guest,
            length: 0,
            parts: Vec::new(),
        });
        let at = (guest - plan.guest) as usize;
        plan.length = at + length;
        match plan.parts.last_mut() {
            Some(last)
                if form == Form::Plain
                    && last.form == Form::Plain
                    && last.at + last.length == at
                    && last.host + last.length as u64 == host =>
            {
                last.length += length;
            }
            _ => plan.parts.push(Part {
                at,
                length,
                host,
                form,
            }),
        }
    }

    fn outside(&self, guest: u64, host: u64) -> Qcow2Error {
        Qcow2Error::Cluster {
            guest,
            host,
            length: self.length,
        }
    }

    /// Where the L2 table is; 0 if there is none.
    async fn l1_entry(&mut self, index: u64) -> Result<u64, Qcow2Error> {
        let at = index * 8;
        let start = at - at % PAGE;
        let page = match &self.l1 {
            Some((held, page)) if *held == start => page.clone(),
            _ => {
                let length = (self.header.l1_entries * 8 - start).min(PAGE) as usize;
                let page = self.table("L1", self.header.l1_offset + start, length).await?;
                self.l1 = Some((start, page.clone()));
                page
            }
        };
        Ok(u64_at(&page, (at - start) as usize) & OFFSET)
    }

    async fn l2_table(&mut self, offset: u64) -> Result<Bytes, Qcow2Error> {
        if let Some((held, table)) = &self.l2
            && *held == offset
        {
            return Ok(table.clone());
        }
        let cluster = self.header.cluster();
        // Offsets have 56 bits.
        if !offset.is_multiple_of(cluster) || offset + cluster > self.length {
            return Err(Qcow2Error::Table {
                what: "L2",
                offset,
                length: self.length,
            });
        }
        let table = self.table("L2", offset, cluster as usize).await?;
        self.l2 = Some((offset, table.clone()));
        Ok(table)
    }

    async fn table(&self, what: &'static str, offset: u64, length: usize) -> Result<Bytes, Qcow2Error> {
        let table = read_exact(&*self.file, offset, length).await;
        table.map_err(|error| Qcow2Error::Io { what, offset, error })
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::{Compression, L2};
    use super::*;

    const CLUSTER: u64 = 64 << 10;

    /// An image of 1 GiB (2 L2 tables): L1 at the first cluster, an L2 table for the second half at the second, data from the
    /// third cluster on.
    fn walk(entries: &[(u64, u64)], clusters: u64) -> Walk {
        let mut bytes = vec![0; (clusters * CLUSTER) as usize];
        let mut put = |at: u64, entry: u64| {
            bytes[at as usize..at as usize + 8].copy_from_slice(&entry.to_be_bytes());
        };
        put(8, 1 << 63 | CLUSTER);
        for (index, entry) in entries {
            put(CLUSTER + 8 * index, *entry);
        }
        let header = Header {
            version: 3,
            cluster_bits: 16,
            size: 1 << 30,
            l1_offset: 0,
            l1_entries: 2,
            compression: Compression::Deflate,
            l2: L2::Plain,
        };
        let length = bytes.len() as u64;
        Walk::new(Arc::new(Bytes::from(bytes)), header, length).unwrap()
    }

    #[tokio::test]
    async fn neighbours_become_one_part_and_holes_end_pieces_only_at_whole_ones() {
        let cluster = |index: u64| (1 << 63) | (index * CLUSTER);
        let mut walk = walk(
            &[
                (0, cluster(2)),
                (1, cluster(3)),
                (3, cluster(5)),
                (16, cluster(4)),
            ],
            6,
        );
        let first = walk.next().await.unwrap().unwrap();
        assert_eq!(first.guest, 512 << 20);
        assert_eq!(first.length as u64, 4 * CLUSTER);
        let parts: Vec<_> = first
            .parts
            .iter()
            .map(|part| (part.at, part.length, part.host))
            .collect();
        let cluster = CLUSTER as usize;
        assert_eq!(
            parts,
            [(0, 2 * cluster, 2 * CLUSTER), (3 * cluster, cluster, 5 * CLUSTER)]
        );
        let second = walk.next().await.unwrap().unwrap();
        assert_eq!(second.guest, (512 << 20) + (1 << 20));
        assert_eq!(walk.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn clusters_past_the_end_of_the_file_are_refused() {
        for entry in [
            (1 << 63) | (6 * CLUSTER),
            (1 << 62) | (6 * CLUSTER),
            OFFSET & !(CLUSTER - 1),
        ] {
            let error = walk(&[(0, entry)], 6).next().await.unwrap_err();
            assert!(matches!(error, Qcow2Error::Cluster { .. }), "{entry:#x}: {error}");
        }
    }

    #[tokio::test]
    async fn an_l2_table_that_is_no_whole_cluster_of_the_file_is_refused() {
        for entry in [512, 6 * CLUSTER, OFFSET & !(CLUSTER - 1)] {
            let mut walk = walk(&[], 6);
            let mut bytes = vec![0; 6 << 16];
            bytes[8..16].copy_from_slice(&u64::to_be_bytes(entry));
            walk.file = Arc::new(Bytes::from(bytes));
            let error = walk.next().await.unwrap_err();
            assert!(matches!(error, Qcow2Error::Table { what: "L2", .. }), "{error}");
        }
    }
}

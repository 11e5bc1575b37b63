//! Makes a dynamic VHDX of a qcow2 or raw image, and says how long it took.
//!
//! `cargo run --release -p vhdx --example convert -- IMAGE DISK.vhdx [BLOCK_MIB]`

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;
use vhdx::{BlockSize, Disk, Identity, LocalFile, Qcow2, Qcow2Error, RawFile, Source, Writer, convert};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (image, target, block) = match &arguments[..] {
        [image, target] => (image, target, None),
        [image, target, mib] => (image, target, Some(mib.parse::<u32>()?)),
        _ => return Err("usage: convert IMAGE DISK.vhdx [BLOCK_MIB]".into()),
    };
    let start = Instant::now();
    let file = Arc::new(LocalFile::open(image).await?);
    let mut source: Box<dyn Source> = match Qcow2::open(file.clone()).await {
        Ok(image) => Box::new(image),
        Err(Qcow2Error::NotQcow2) => Box::new(RawFile::open(file).await?),
        Err(error) => return Err(error.into()),
    };
    let identity = Identity {
        disk: Uuid::new_v4(),
        file_write: Uuid::new_v4(),
        data_write: Uuid::new_v4(),
    };
    let mut disk = Disk::holding(source.size(), identity)?;
    if let Some(mib) = block {
        disk = disk.with_blocks(BlockSize::new(mib.saturating_mul(1 << 20))?);
    }
    let writer = Writer::new(Arc::new(LocalFile::create_new(target).await?), disk);
    let written = convert(&mut *source, writer).await?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} bytes of image became a file of {}, of which {} were sent in {seconds:.2} s: {:.0} MB/s; {} bytes held at most",
        source.size(),
        written.file,
        written.bytes,
        written.bytes as f64 / 1e6 / seconds,
        written.held,
    );
    Ok(())
}

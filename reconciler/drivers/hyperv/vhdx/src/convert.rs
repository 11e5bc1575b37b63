//! A source, brought to a writer.

use crate::source::{Source, SourceError};
use crate::writer::{WriteError, Writer, Written};

/// Why an image did not become a disk.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The image could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The disk could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes all that `source` has. The two work side by side; what is held at one time is what source and writer say of
/// themselves. Whoever wants to show progress calls [`Source::next`] and [`Writer::write`] in a loop of his own.
pub async fn convert(source: &mut dyn Source, mut writer: Writer) -> Result<Written, ConvertError> {
    while let Some(piece) = source.next().await? {
        writer.write(piece.offset, piece.bytes).await?;
    }
    Ok(writer.finish().await?)
}

//! Reading a whole file in order, with several reads under way.

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};

use crate::error::Error;
use crate::files::FileReader;

/// Bytes of one read.
const CHUNK: usize = 1 << 20;
/// Reads at a time.
const AT_A_TIME: usize = 8;

/// All of a file as it was when it was opened, in order, at most 8 MiB ahead.
pub fn chunks(file: &dyn FileReader) -> impl Stream<Item = Result<Bytes, Error>> + Send + '_ {
    let starts = (0..file.size()).step_by(CHUNK);
    stream::iter(starts)
        .map(move |start| file.read_at(start, CHUNK))
        .buffered(AT_A_TIME)
}

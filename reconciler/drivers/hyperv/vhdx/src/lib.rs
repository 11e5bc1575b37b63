//! VHDX disks, written while their content streams in, and read; raw and qcow2 images as sources. It knows nothing of machines
//! or hosts, and starts no program. Reading ahead, unpacking and writing are tasks of the tokio runtime it is called in.
//!
//! ```
//! # use std::sync::Arc;
//! # use uuid::Uuid;
//! use vhdx::{Disk, Identity, LocalFile, Qcow2, Source as _, Writer, convert};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut image = Qcow2::open(Arc::new(LocalFile::open("image.qcow2").await?)).await?;
//! # let (one, another, third) = (Uuid::nil(), Uuid::nil(), Uuid::nil());
//! let identity = Identity { disk: one, file_write: another, data_write: third };
//! let disk = Disk::holding(image.size(), identity)?;
//! // Any file will do that can be written at an offset: `WriteAt`.
//! let target = LocalFile::create_new("image.vhdx").await?;
//! let written = convert(&mut image, Writer::new(Arc::new(target), disk)).await?;
//! println!("{} bytes of {}", written.bytes, written.file);
//! # Ok(())
//! # }
//! ```
//!
//! | file | what |
//! |---|---|
//! | `disk` | what a disk is: sizes, sectors, names |
//! | `io`, `file` | what files have to be able to do; files of this machine |
//! | `source`, `raw`, `qcow2/` | where content comes from |
//! | `writer`, `layout` | a dynamic VHDX, written in the order in which content comes |
//! | `convert` | a source, brought to a writer |
//! | `reader` | what a VHDX says of itself; its content |
//! | `differencing` | empty differencing disks (feature `differencing`) |
//! | `format/` | the parts of the file as bytes: headers, regions, metadata, BAT, parent locator |

mod convert;
#[cfg(feature = "differencing")]
mod differencing;
mod disk;
mod file;
mod format;
mod io;
mod layout;
mod qcow2;
mod raw;
mod reader;
mod source;
mod writer;

pub use convert::{ConvertError, convert};
#[cfg(feature = "differencing")]
pub use differencing::{ChildError, write_child};
pub use disk::{BlockSize, Disk, DiskError, Identity, LARGEST, SectorSize};
pub use file::LocalFile;
pub use format::locator::{LocatorError, Parent};
pub use format::metadata::{Kind, MetadataError};
pub use format::region::RegionError;
pub use io::{ReadAt, WriteAt};
pub use qcow2::{Qcow2, Qcow2Error};
pub use raw::{RawFile, RawStream};
pub use reader::{Info, Pieces, Reader, VhdxError};
pub use source::{Piece, Source, SourceError};
pub use writer::{WriteError, Writer, Written};

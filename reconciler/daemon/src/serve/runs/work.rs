//! The pieces of work, each one call of the engine.

use super::Made;
use labyard_api::image;
use labyard_driver::ids::{HostName, HostUuid, Namespace, ObjectId, ObjectName};
use labyard_driver::observed::HostFacts;
use labyard_reconciler::{
    EngineError,
    derived::Taken,
    desired::{DesiredMachine, DesiredNetwork},
    engine::{
        Bounds, Capture, CaptureStage, Captured, Embedded, Engine as _, HostImage, ObjectRef, Reading, Seal,
        Want,
    },
    steps::Progress,
    view::{MachineView, NetworkView},
    want::desired_on,
};
use labyard_schema::vm::Vm;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Mutex};
use tokio::sync::mpsc::UnboundedSender;

/// How far a piece of work is.
pub(crate) struct Reached {
    pub(super) stage: String,
    pub(super) value: Value,
}

/// Who keeps what is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The server: it is the asked name's from then on.
    Server,
    /// Who asked, by a state of its own: it is confirmed when that state has it, and until then a later create takes it
    /// up.
    Caller,
}

/// A machine that goes where there is room.
pub(crate) enum Placed {
    /// In the words of a person.
    Written(Box<Vm>),
    /// Decided by an engine for each host that it may be on, by that host's id.
    Decided(BTreeMap<HostUuid, DesiredMachine>),
}

/// A piece of work. It holds secrets, and has no Debug form.
pub(crate) enum Work {
    /// A machine that is not there.
    Create(HostName, Box<DesiredMachine>, Keeper),
    /// A machine without a host.
    Place(Box<Want>, Placed, Keeper),
    /// A machine that is there, what is known of it, and what it shall be.
    Update(ObjectRef, Box<(DesiredMachine, DesiredMachine)>, Keeper),
    /// A machine that is to go.
    Destroy(ObjectRef, Box<DesiredMachine>),
    /// A machine whose disk becomes an image.
    Capture(ObjectRef, Box<Capture>),
    /// Images of a host that are to go.
    ForgetImages(HostName, Vec<HostImage>),
    /// A network that is not there.
    CreateNetwork(HostName, Box<DesiredNetwork>, Keeper),
    /// A network that is there.
    UpdateNetwork(ObjectRef, Box<DesiredNetwork>, Keeper),
    /// A network that is to go.
    DestroyNetwork(ObjectRef),
}

/// The last machine that was reached, and where.
type Last = Mutex<Option<(HostName, ObjectId)>>;

fn told(send: &UnboundedSender<Reached>, last: &Last, host: &HostName, progress: &Progress) {
    let id = progress.identity.id.clone();
    *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((host.clone(), id));
    // Nobody listens any more when it is over.
    let _ = send.send(Reached {
        stage: progress.mark.stage.word().to_owned(),
        value: json!({"host": host, "progress": progress}),
    });
}

fn captured_at(send: &UnboundedSender<Reached>, host: &HostName, stage: CaptureStage) {
    // Nobody listens any more when it is over.
    let _ = send.send(Reached {
        stage: stage.word().to_owned(),
        value: json!({"host": host, "capture": stage}),
    });
}

/// An image as the API shows it.
pub(crate) fn image_shown(host: &HostName, image: &HostImage) -> image::Image {
    image::Image {
        namespace: image.image.namespace.to_string(),
        name: image.image.name.to_string(),
        revision: image.image.revision.0,
        host: host.to_string(),
        storage_pool: image.pool.to_string(),
        sha256: image.image.digest.to_string(),
    }
}

/// What came of a capture as the API shows it.
fn capture_shown(host: &HostName, captured: &Captured) -> image::Captured {
    image::Captured {
        image: image_shown(host, &captured.image),
        sealed: captured.seal == Seal::Sealed,
        note: match &captured.seal {
            Seal::Sealed => None,
            Seal::Open(why) => Some(why.clone()),
        },
    }
}

async fn forget(engine: &Embedded, host: &HostName, images: &[HostImage]) -> Made {
    for image in images {
        engine.forget_image(host, image).await?;
    }
    Ok(json!({"host": host}))
}

impl Work {
    /// Does it, and says how far it is.
    pub(super) async fn done(
        self,
        engine: &Embedded,
        bounds: Bounds,
        send: UnboundedSender<Reached>,
    ) -> Made {
        let last = Last::default();
        let on = |host: &HostName, progress: &Progress| told(&send, &last, host, progress);
        let made = match self {
            Self::Create(host, desired, keeper) => {
                let report = |progress: &Progress| on(&host, progress);
                match engine.create_machine(&host, &desired, bounds, &report).await {
                    Ok(view) => {
                        machine(engine, &host, (&desired.namespace, &desired.name), view, keeper).await
                    }
                    Err(error) => Err(error),
                }
            }
            Self::Place(want, placed, keeper) => {
                let desired = |facts: &HostFacts, taken: &Taken| placed.on(&want, facts, taken);
                match engine.place_machine(&want, &desired, bounds, &on).await {
                    Ok(host) => placed_on(engine, &want, &host, keeper).await,
                    Err(error) => Err(error),
                }
            }
            Self::Update(object, both, keeper) => {
                let (known, desired) = *both;
                let report = |progress: &Progress| on(&object.host, progress);
                let made = engine
                    .update_machine(&object, &known, &desired, bounds, &report)
                    .await;
                match made {
                    Ok(view) => {
                        machine(
                            engine,
                            &object.host,
                            (&desired.namespace, &desired.name),
                            view,
                            keeper,
                        )
                        .await
                    }
                    Err(error) => Err(error),
                }
            }
            Self::Destroy(object, known) => {
                let gone = engine.destroy_machine(&object, &known, bounds).await;
                gone.map(|()| json!({"host": object.host}))
            }
            Self::Capture(object, capture) => {
                let at = |stage: CaptureStage| captured_at(&send, &object.host, stage);
                let captured = engine.capture_machine(&object, &capture, bounds, &at).await;
                captured.map(|captured| json!(capture_shown(&object.host, &captured)))
            }
            Self::ForgetImages(host, images) => forget(engine, &host, &images).await,
            Self::CreateNetwork(host, desired, keeper) => {
                match engine.create_network(&host, &desired, bounds).await {
                    Ok(view) => network(engine, (&host, &desired), view, keeper).await,
                    Err(error) => Err(error),
                }
            }
            Self::UpdateNetwork(object, desired, keeper) => {
                match engine.update_network(&object, &desired, bounds).await {
                    Ok(view) => network(engine, (&object.host, &desired), view, keeper).await,
                    Err(error) => Err(error),
                }
            }
            Self::DestroyNetwork(object) => {
                let gone = engine.destroy_network(&object, bounds).await;
                gone.map(|()| json!({"host": object.host}))
            }
        };
        let last = last
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((host, id)) = last {
            engine.let_go(&host, &id).await;
        }
        made
    }
}

impl Placed {
    fn on(&self, want: &Want, facts: &HostFacts, taken: &Taken) -> Result<DesiredMachine, EngineError> {
        match self {
            Self::Written(vm) => Ok(desired_on(&want.namespace, vm, (facts, taken))?),
            Self::Decided(by_host) => by_host.get(&facts.uuid).cloned().ok_or_else(|| {
                let message = format!("nothing was decided for the host with the id {}", facts.uuid);
                let attribute = "host".to_owned();
                EngineError::Attribute { attribute, message }
            }),
        }
    }
}

/// A machine that was placed, as it is.
async fn placed_on(engine: &Embedded, want: &Want, host: &HostName, keeper: Keeper) -> Made {
    let (view, _) = engine
        .find_machine(host, &want.namespace, want.name.as_str())
        .await?;
    machine(engine, host, (&want.namespace, &want.name), view, keeper).await
}

/// A machine as it came out of the work on it; it is confirmed where the server keeps it.
async fn machine(
    engine: &Embedded,
    host: &HostName,
    (namespace, name): (&Namespace, &ObjectName),
    view: MachineView,
    keeper: Keeper,
) -> Made {
    let object = ObjectRef {
        host: host.clone(),
        namespace: namespace.clone(),
        name: name.clone(),
        identity: view.identity().cloned(),
        id: Some(view.id.clone()),
        pools: Default::default(),
    };
    if keeper == Keeper::Server {
        engine.confirm_machine(&object).await?;
    }
    Ok(json!({"host": host, "view": view}))
}

async fn network(
    engine: &Embedded,
    (host, desired): (&HostName, &DesiredNetwork),
    view: NetworkView,
    keeper: Keeper,
) -> Made {
    engine.let_go(host, &view.id).await;
    if keeper == Keeper::Server {
        let object = ObjectRef {
            host: host.clone(),
            namespace: desired.namespace.clone(),
            name: desired.name.clone(),
            identity: view.identity().cloned(),
            id: Some(view.id.clone()),
            pools: Default::default(),
        };
        // To be read by its identity is to be known: it is confirmed.
        let _: Reading<NetworkView> = engine.read_network(&object).await?;
    }
    Ok(json!({"host": host, "view": view}))
}

//! Captured images: made of machines' disks, seen, removed where nobody is made of them.

use super::{
    Answer,
    asked::{Change, as_text, object, on, snapshot},
    json,
    pools::Within,
    taken::{Json, Query, Three, Two, invalid, namespace, time_limit},
    vms::{ANSWERS_WITHIN, by_name, gone, hidden, identified, meant, not_ours, seen, sent_object, unread},
};
use crate::{
    failure::Failure,
    keep::operations::Kind,
    serve::{
        app::App,
        met,
        runs::{Work, image_shown},
        seen::since,
        who::Caller,
    },
};
use axum::{Extension, extract::State};
use http::HeaderMap;
use labyard_api::{
    image::{self, IN_USE, Images, PINNED},
    problem::Problem,
    vm::Unread,
};
use labyard_driver::{ids::HostName, mark::Mark, observed::Snapshot};
use labyard_labs::{
    Refusal,
    ids::Namespace,
    pool::{self, follow},
    show::Scope,
};
use labyard_reconciler::{
    engine::{Capture, Embedded, Engine as _, HostImage, WhileRunning},
    image::{ImageName, Revision},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How long a capture may take: a large disk on a slow host's.
const CAPTURE: Duration = Duration::from_secs(4 * 3600);
const REMOVE: Duration = Duration::from_secs(10 * 60);

/// Which images.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listed {
    namespace: Option<String>,
    host: Option<String>,
}

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(listed): Query<Listed>,
) -> Answer {
    let scope = caller.scope().narrowed(namespace(listed.namespace)?.as_ref());
    let hosts = match &listed.host {
        Some(host) => vec![on(&app, host).await?.1],
        None => app.runs.engine().map(|engine| engine.hosts()).unwrap_or_default(),
    };
    let mut found = Images {
        items: Vec::new(),
        unread: Vec::new(),
    };
    if let Some(engine) = app.runs.engine() {
        let looks = hosts.iter().map(|host| of_host(engine, host));
        for (host, looked) in hosts.iter().zip(futures::future::join_all(looks).await) {
            match looked {
                Ok(images) => found
                    .items
                    .extend(images.iter().map(|image| image_shown(host, image))),
                Err(one) => found.unread.push(one),
            }
        }
    }
    found
        .items
        .retain(|image| seen(&scope, Some(image.namespace.as_str())));
    found.items.sort();
    Ok(json(200, &found))
}

/// The images of a host, or that it did not answer.
async fn of_host(engine: &Embedded, host: &HostName) -> Result<Vec<HostImage>, Unread> {
    let look = async {
        engine.look_anew(host, since()).await;
        engine.images(host).await
    };
    match tokio::time::timeout(ANSWERS_WITHIN, look).await {
        Ok(looked) => looked.map_err(|error| unread(host, error.to_string())),
        Err(_) => Err(unread(
            host,
            format!("no answer within {} s", ANSWERS_WITHIN.as_secs()),
        )),
    }
}

pub(crate) async fn capture(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Two(host, name): Two,
    Query(within): Query<Within>,
    headers: HeaderMap,
    Json(asked): Json<image::Capture>,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let capture = wanted(&asked)?;
    let (engine, host) = on(&app, &host).await?;
    let change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::CaptureVm,
        subject: format!("vm/{host}/{name}"),
        stage: "begun",
        limit: time_limit(asked.limit_s)?.unwrap_or(CAPTURE),
        asked: as_text(&asked),
    };
    if let Some(before) = change.repeated(&app, &headers).await? {
        return Ok(before);
    }
    let mut target = object((&host, &name), &namespace, sent_object(asked.object)?);
    if target.identity.is_none() {
        target = match by_name(engine, &target).await? {
            Some((view, Some(_))) => identified(target, &view),
            Some((view, None)) if !hidden(&view.owner, &caller) => return Err(not_ours()),
            _ => return Err(gone("machine")),
        };
    }
    meant(engine, &target, &caller).await?;
    change
        .begun(&app, &headers, Work::Capture(target, Box::new(capture)))
        .await
}

/// What is asked for, as engines know it.
fn wanted(asked: &image::Capture) -> Result<Capture, Failure> {
    let name = asked.image.parse::<ImageName>();
    let name = name.map_err(|detail| invalid().wrong("/image", detail))?;
    Ok(Capture {
        disk: asked.disk.as_deref().map(Into::into),
        name,
        running: match asked.running {
            image::WhileRunning::Quiesced => WhileRunning::Quiesced,
            image::WhileRunning::Stopped => WhileRunning::Stopped,
        },
    })
}

pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Three(host, name, revision): Three,
    Query(within): Query<Within>,
    headers: HeaderMap,
) -> Answer {
    let namespace = caller.namespace(within.namespace.as_deref())?;
    let Some(revision) = revision
        .parse::<u32>()
        .ok()
        .filter(|revision| *revision > 0)
        .map(Revision)
    else {
        return Err(invalid().wrong("revision", "it is a number from 1").into());
    };
    let (engine, host) = on(&app, &host).await?;
    let change = Change {
        caller: &caller,
        namespace: &namespace,
        kind: Kind::DeleteImage,
        subject: format!("image/{host}/{name}@{revision}"),
        stage: "begun",
        limit: REMOVE,
        asked: String::new(),
    };
    if let Some(before) = change.repeated(&app, &headers).await? {
        return Ok(before);
    }
    let failed = |error| met::problem(&error);
    let mut images = engine.images(&host).await.map_err(failed)?;
    images.retain(|HostImage { image, .. }| {
        image.namespace.as_str() == namespace.as_str()
            && image.name.as_str() == name
            && image.revision == revision
    });
    if images.is_empty() {
        return Err(gone("image"));
    }
    let pinned = pinning(&app, &namespace).await?;
    if let Some(pools) = pinned.get(&format!("image:{name}@{revision}")) {
        let detail = format!(
            "Made of it: pool {}. It can go when their templates name another, and their machines are made of that.",
            joined(pools)
        );
        return Err(Problem::new(409, PINNED, "Pools are made of the image")
            .detail(detail)
            .into());
    }
    let users = made_of(&*snapshot(engine, &host).await?, &images, &namespace);
    if !users.is_empty() {
        let detail = format!(
            "Made of it on {host}: {}. It can go when they are gone.",
            joined(&users)
        );
        return Err(Problem::new(409, IN_USE, "Machines are made of the image")
            .detail(detail)
            .into());
    }
    change
        .begun(&app, &headers, Work::ForgetImages(host, images))
        .await
}

fn joined(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The machines of a host that are made of one of these images; those of other namespaces are not named.
fn made_of(snapshot: &Snapshot, images: &[HostImage], namespace: &Namespace) -> BTreeSet<String> {
    let is_made_of = |mark: &Mark| {
        let disks = mark.disks.values().filter_map(|disk| disk.image.as_ref());
        let media = mark.media.values().filter_map(|drive| drive.image.as_ref());
        let mut digests = disks.chain(media).filter_map(|image| image.digest.as_ref());
        digests.any(|digest| images.iter().any(|image| image.image.digest == *digest))
    };
    let marks = snapshot.machines.iter().filter_map(|machine| machine.mark.ours());
    marks
        .filter(|mark| is_made_of(mark))
        .map(|mark| match mark.namespace.as_str() == namespace.as_str() {
            true => mark.name.to_string(),
            false => "machines of other namespaces".to_owned(),
        })
        .collect()
}

/// The images that pools of a namespace are made of, as sources: what templates name with a revision, and what those
/// that follow the newest are made of now.
async fn pinning(app: &App, namespace: &Namespace) -> Result<BTreeMap<String, BTreeSet<String>>, Refusal> {
    let namespace = namespace.clone();
    let pinning = app.store.read(move |read| {
        let mut pinning: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let pools = pool::those(read, &Scope::All)?;
        for pool in pools.iter().filter(|pool| pool.namespace == namespace) {
            let now = pool::template_of(read, pool, pool.generation)?;
            let mut sources = follow::kept(&pool.spec.template);
            sources.extend(now.as_ref().map(follow::kept).unwrap_or_default());
            for source in sources {
                pinning.entry(source).or_default().insert(pool.name.to_string());
            }
        }
        Ok::<_, Refusal>(pinning)
    });
    pinning.await
}

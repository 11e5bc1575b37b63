//! The work on hosts: a foreman keeps pools as they are asked to be, while the server serves. A server without hosts
//! serves alone; others on the same store do the work.

use super::{app::App, sources::Sources};
use crate::config::{Config, Work};
use labyard_driver::DriverError;
use labyard_foreman::{Foreman, Setting};
use labyard_labs::retention::Retention;
use labyard_reconciler::{
    engine::{Deps, Embedded, Engine, Run},
    hooks::Hooks,
    host::Host,
    image::{Fetcher, Options},
    journal::Journal,
};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// What cannot be of that which does the work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Bad {
    /// A host.
    #[error("host {name}: {source}")]
    Host {
        /// Its name.
        name: String,
        /// Why.
        source: DriverError,
    },
    /// A hook.
    #[error("hook {moment}: {why}")]
    Hook {
        /// Its moment.
        moment: String,
        /// Why.
        why: String,
    },
}

/// The engine of the configured hosts, if there are some; nothing is contacted before it is used.
pub(crate) fn engine(config: &Config) -> Result<Option<Arc<Embedded>>, Bad> {
    if config.hosts.is_empty() {
        return Ok(None);
    }
    let made: Result<Vec<Option<Host>>, Bad> = config
        .hosts
        .iter()
        .map(|(name, host)| {
            labyard_hosts::made(name, host).map_err(|source| Bad::Host {
                name: name.clone(),
                source,
            })
        })
        .collect();
    let hooks = Hooks::from_config(&config.hooks).map_err(|(moment, why)| Bad::Hook { moment, why })?;
    let deps = Deps {
        hooks,
        journal: Journal::chosen(None, |name| std::env::var(name).ok()),
        fetcher: Fetcher::new(Options {
            reach: Sources::of(config).reach(),
            ..Options::default()
        }),
        ..Deps::default()
    };
    Ok(Some(Arc::new(Embedded::new(made?.into_iter().flatten(), deps))))
}

fn setting(work: &Work) -> Setting {
    let mut setting = Setting {
        per_host: work.per_host.get(),
        ..Setting::default()
    };
    let ms = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    setting.worker.lease_ms = ms(work.lease);
    setting.retention = Retention {
        log_ms: ms(work.keep_log),
        ended_ms: ms(work.keep_ended),
    };
    setting
}

/// Begins the work; it ends when the server does.
pub(crate) fn begin(app: &Arc<App>, work: &Work) -> Option<JoinHandle<()>> {
    let Some(engine) = app.runs.engine().cloned() else {
        tracing::warn!("no hosts are configured: the API is served, and others on this store do the work");
        return None;
    };
    let foreman = Foreman::new(
        app.store.clone(),
        Arc::clone(&engine) as Arc<dyn Engine>,
        Setting {
            meter: Arc::clone(&app.meter),
            ..setting(work)
        },
    );
    let ending = app.ending.clone();
    Some(tokio::spawn(async move {
        foreman.run(ending).await;
        // What it made is confirmed by the foreman, one by one.
        engine.finish(Run::Stopped).await;
    }))
}

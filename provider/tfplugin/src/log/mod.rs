//! Log lines as the parent reads them: hclog's JSON on stderr, one object a line.
//!
//! `tracing` events become such lines; the fields of the spans around an event stand beside its own. What is
//! written is governed by Terraform's own variables: `TF_LOG_PROVIDER_<NAME>`, `TF_LOG_PROVIDER`, `TF_LOG`.

mod line;
mod timestamp;

use std::io::Write as _;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// Libraries whose debug output nobody reads unless one of them is at fault.
const QUIET: &[&str] = &[
    "h2",
    "hyper",
    "hyper_util",
    "rustls",
    "tonic",
    "tokio_util",
    "mio",
];

/// Sends this process's `tracing` events to the parent. `name` is the provider's, as in `labyard`.
pub(crate) fn install(name: &str, var: impl Fn(&str) -> Option<String>) {
    let level = level_from(name, var);
    if level == LevelFilter::OFF {
        return;
    }
    let subscriber = Registry::default().with(Hclog {
        module: name.to_owned(),
        level,
    });
    // Somebody's own subscriber, set before, stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Writes text to stderr in one piece, so that lines of two threads never mix.
pub(crate) fn raw_line(text: &str) {
    let mut text = text.to_owned();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    // The parent may have closed the pipe; there is nobody left to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn level_from(name: &str, var: impl Fn(&str) -> Option<String>) -> LevelFilter {
    let own = format!("TF_LOG_PROVIDER_{}", name.to_uppercase().replace('-', "_"));
    let wanted = [own.as_str(), "TF_LOG_PROVIDER", "TF_LOG"]
        .into_iter()
        .find_map(var);
    match wanted.as_deref().map(str::to_uppercase).as_deref() {
        None | Some("" | "OFF") => LevelFilter::OFF,
        Some("ERROR") => LevelFilter::ERROR,
        Some("WARN") => LevelFilter::WARN,
        Some("INFO") => LevelFilter::INFO,
        Some("DEBUG") => LevelFilter::DEBUG,
        // TRACE, JSON, and what Terraform does with words it does not know.
        Some(_) => LevelFilter::TRACE,
    }
}

struct Hclog {
    module: String,
    level: LevelFilter,
}

/// A span's fields, kept with it.
struct SpanFields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Hclog {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let root = metadata.target().split("::").next().unwrap_or_default();
        let quiet = QUIET.contains(&root) && *metadata.level() > Level::WARN;
        !quiet && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(SpanFields(fields.map));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(SpanFields(map)) = span.extensions_mut().get_mut::<SpanFields>() {
            map.append(&mut fields.map);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in ctx
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(SpanFields(map)) = span.extensions().get::<SpanFields>() {
                fields.map.extend(map.clone());
            }
        }
        event.record(&mut fields);
        let line = line::Line {
            level: *event.metadata().level(),
            module: &self.module,
            target: event.metadata().target(),
            message: fields.message,
            fields: fields.map,
        };
        raw_line(&line.to_json(std::time::SystemTime::now()));
    }
}

/// Gathers an event's or a span's fields.
#[derive(Default)]
struct Fields {
    message: String,
    map: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        if field.name() == "message" {
            self.message = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        } else {
            self.map.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.set(field, Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::String(value.to_owned()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.set(field, Value::String(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(vars: &[(&str, &str)]) -> LevelFilter {
        level_from("my-lab", |name| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn the_most_particular_variable_decides() {
        assert_eq!(level(&[]), LevelFilter::OFF);
        assert_eq!(level(&[("TF_LOG", "info")]), LevelFilter::INFO);
        assert_eq!(
            level(&[("TF_LOG", "info"), ("TF_LOG_PROVIDER", "WARN")]),
            LevelFilter::WARN
        );
        assert_eq!(
            level(&[("TF_LOG", "info"), ("TF_LOG_PROVIDER_MY_LAB", "off")]),
            LevelFilter::OFF
        );
    }

    #[test]
    fn json_means_everything() {
        assert_eq!(level(&[("TF_LOG", "JSON")]), LevelFilter::TRACE);
    }
}

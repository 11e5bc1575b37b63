//! Labyard's own schema with no host behind it: every answer comes from memory. What labyard adds to the price of
//! protocol and schema is measured against it.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use labyard_schema::Described;
use labyard_schema::data::{HostData, NetworkData, VmData};
use labyard_schema::network::Network;
use labyard_schema::provider::ProviderConfig;
use labyard_schema::vm::Vm;
use tfplugin::schema::{Kind, Schema};
use tfplugin::value::{Path, Type, Value};
use tfplugin::{
    ApplyRequest, ConfigureRequest, Context, DataSource, Diagnostics, Plan, Provider, Resource, Saver, State,
    serve,
};

#[path = "../src/shape.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the provider's own module, of which only schema and checks are wanted here"
)]
mod shape;

fn main() -> ExitCode {
    let provider = InMemory {
        schema: shape::schema::<ProviderConfig>(0),
    };
    serve("registry.terraform.io/labyard/labyard", provider)
}

struct InMemory {
    schema: Schema,
}

#[async_trait]
impl Provider for InMemory {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![
            Arc::new(Kept::of::<Vm>("labyard_vm")),
            Arc::new(Kept::of::<Network>("labyard_network")),
        ]
    }

    fn data_sources(&self) -> Vec<Arc<dyn DataSource>> {
        vec![
            Arc::new(Told::of::<HostData>("labyard_host")),
            Arc::new(Told::of::<VmData>("labyard_vm")),
            Arc::new(Told::of::<NetworkData>("labyard_network")),
        ]
    }

    async fn configure(&self, _request: ConfigureRequest, _diags: &mut Diagnostics) {}
}

/// A data source that nobody asks: its schema is what Terraform reads first.
struct Told {
    name: &'static str,
    schema: Schema,
}

impl Told {
    fn of<T: Described>(name: &'static str) -> Self {
        Self {
            name,
            schema: shape::schema::<T>(0),
        }
    }
}

#[async_trait]
impl DataSource for Told {
    fn type_name(&self) -> &str {
        self.name
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn read(&self, _ctx: &Context, config: Value, _diags: &mut Diagnostics) -> Option<Value> {
        Some(config)
    }
}

/// An object that Terraform's state alone keeps.
struct Kept {
    name: &'static str,
    schema: Schema,
    check: fn(&Value, &mut Diagnostics),
}

impl Kept {
    fn of<T: Described>(name: &'static str) -> Self {
        Self {
            name,
            schema: shape::schema::<T>(0),
            check: shape::check::<T>,
        }
    }

    fn keep(&self, request: &ApplyRequest, saver: &Saver) {
        let mut value = request.planned.clone();
        for attribute in &self.schema.attributes {
            if value.field(&attribute.name).is_unknown() {
                value.set(&Path::attribute(&attribute.name), sample(&attribute.kind));
            }
        }
        // As many bytes as labyard keeps beside a state.
        let private = br#"{"identity":{"token":"0123456789abcdef0123456789abcdef","origin":"0123456789abcdef0123456789abcdef","id":"7d1c6f0e-9f3b-4a0e-8a55-0d5c1f3f6a21"}}"#;
        saver.save(State {
            value,
            private: private.to_vec(),
        });
    }
}

/// A value as a host might tell it.
fn sample(kind: &Kind) -> Value {
    match kind {
        Kind::Plain(Type::Bool) => Value::from(true),
        Kind::Plain(Type::String) => Value::from("7d1c6f0e-9f3b-4a0e-8a55-0d5c1f3f6a21"),
        _ => Value::Null,
    }
}

/// The same value for each key of a map of the configuration.
fn by_key(map: &Value, value: &str) -> Value {
    Value::Keyed(
        map.entries()
            .map(|(key, _)| (key.to_owned(), Value::from(value)))
            .collect(),
    )
}

#[async_trait]
impl Resource for Kept {
    fn type_name(&self) -> &str {
        self.name
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        (self.check)(config, diags);
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, _diags: &mut Diagnostics) {
        let planned = &plan.planned;
        let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let known = [
            ("host", Value::from("default")),
            ("owned", Value::from(true)),
            ("macs", by_key(planned.field("nics"), "52:54:00:12:34:56")),
            ("image_digests", by_key(planned.field("disks"), digest)),
        ];
        for (name, known) in known {
            if plan.planned.field(name).is_unknown() {
                plan.planned.set(&Path::attribute(name), known);
            }
        }
    }

    async fn create(&self, _ctx: &Context, request: ApplyRequest, saver: &Saver, _diags: &mut Diagnostics) {
        self.keep(&request, saver);
    }

    async fn update(&self, _ctx: &Context, request: ApplyRequest, saver: &Saver, _diags: &mut Diagnostics) {
        self.keep(&request, saver);
    }

    async fn delete(&self, _ctx: &Context, _request: ApplyRequest, _saver: &Saver, _diags: &mut Diagnostics) {
    }

    async fn read(&self, _ctx: &Context, prior: State, _diags: &mut Diagnostics) -> Option<State> {
        Some(prior)
    }

    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State> {
        let detail = format!("Nothing but a state knows {id:?}.");
        diags.error(None, "Nothing to import", detail);
        None
    }
}

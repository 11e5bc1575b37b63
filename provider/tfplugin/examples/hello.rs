//! The smallest useful provider: one resource that remembers a name. What the protocol itself costs is measured
//! with it.

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use tfplugin::schema::{Attribute, Schema};
use tfplugin::value::{Type, Value};
use tfplugin::{
    ApplyRequest, ConfigureRequest, Context, Diagnostics, Plan, Provider, Resource, Saver, State, serve,
};

fn main() -> ExitCode {
    serve("registry.terraform.io/labyard/hello", Hello::default())
}

#[derive(Default)]
struct Hello {
    schema: Schema,
}

#[async_trait]
impl Provider for Hello {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        vec![Arc::new(Greeting::new())]
    }

    async fn configure(&self, _request: ConfigureRequest, _diags: &mut Diagnostics) {}
}

struct Greeting {
    schema: Schema,
}

impl Greeting {
    fn new() -> Self {
        let schema = Schema::new([
            Attribute::required("name", Type::String).describe("Whom to greet."),
            Attribute::computed("text", Type::String).describe("The greeting."),
        ]);
        Self { schema }
    }

    fn greet(request: &ApplyRequest, saver: &Saver) {
        let name = request.planned.field("name");
        let text = format!("Hello, {}!", name.as_str().unwrap_or_default());
        let value = Value::object([("name", name.clone()), ("text", Value::from(text))]);
        saver.save(State {
            value,
            private: request.private.clone(),
        });
    }
}

#[async_trait]
impl Resource for Greeting {
    fn type_name(&self) -> &str {
        "hello_greeting"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, _diags: &mut Diagnostics) {
        if !plan.planned.is_null() && plan.prior.field("name") != plan.planned.field("name") {
            plan.planned
                .set(&tfplugin::value::Path::attribute("text"), Value::Unknown);
        }
    }

    async fn create(&self, _ctx: &Context, request: ApplyRequest, saver: &Saver, _diags: &mut Diagnostics) {
        Self::greet(&request, saver);
    }

    async fn update(&self, _ctx: &Context, request: ApplyRequest, saver: &Saver, _diags: &mut Diagnostics) {
        Self::greet(&request, saver);
    }

    async fn delete(&self, _ctx: &Context, _request: ApplyRequest, _saver: &Saver, _diags: &mut Diagnostics) {
    }

    async fn read(&self, _ctx: &Context, prior: State, _diags: &mut Diagnostics) -> Option<State> {
        Some(prior)
    }

    async fn import(&self, _ctx: &Context, id: &str, _diags: &mut Diagnostics) -> Option<State> {
        let value = Value::object([
            ("name", Value::from(id)),
            ("text", Value::from(format!("Hello, {id}!"))),
        ]);
        Some(State {
            value,
            private: Vec::new(),
        })
    }
}

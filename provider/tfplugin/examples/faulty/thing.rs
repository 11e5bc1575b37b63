//! `faulty_thing`: a resource with one attribute of every kind, which behaves well but for the one fault.

use async_trait::async_trait;
use tfplugin::schema::{Attribute, Kind, Schema};
use tfplugin::value::{Path, Type, Value};
use tfplugin::{ApplyRequest, Context, Diagnostics, Plan, Resource, Saver, State};

use crate::fault::Fault;
use crate::{at_apply, at_plan, at_read};

pub(crate) struct Thing {
    fault: Fault,
    schema: Schema,
}

impl Thing {
    pub(crate) fn new(fault: Fault) -> Self {
        let disk = [
            Attribute::required("size_gib", Type::Number),
            Attribute::defaulted("bus", Type::String, "virtio"),
        ];
        let schema = Schema::new([
            Attribute::required("name", Type::String),
            Attribute::optional("size", Type::Number),
            Attribute::defaulted("mode", Type::String, "auto"),
            Attribute::optional("zone", Type::String).replaces(),
            Attribute::optional("secret_wo", Type::String).write_only(),
            Attribute::optional("tags", Type::set(Type::String)),
            Attribute::optional("hosts", Type::list(Type::String)),
            Attribute::optional("disks", Kind::map(disk)),
            Attribute::computed("id", Type::String),
        ]);
        Self {
            fault,
            schema: schema.version(2),
        }
    }
}

pub(crate) fn id() -> Path {
    Path::attribute("id")
}

#[async_trait]
impl Resource for Thing {
    fn type_name(&self) -> &str {
        "faulty_thing"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        match self.fault {
            Fault::ValidateFails => {
                let path = Path::attribute("disks")
                    .then_key("root")
                    .then_attribute("size_gib");
                diags.error(Some(path), "Disk too small", "At least 10 GiB are needed.");
            }
            Fault::ValidatePanics => panic!("validate fell over {}", config.field("name")),
            _ => {}
        }
    }

    async fn plan(&self, _ctx: &Context, plan: &mut Plan, diags: &mut Diagnostics) {
        at_plan::spoil(self.fault, plan, diags);
    }

    async fn create(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        at_apply::put(self.fault, ctx, &request, saver, diags).await;
    }

    async fn update(&self, ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        at_apply::put(self.fault, ctx, &request, saver, diags).await;
    }

    async fn delete(&self, _ctx: &Context, request: ApplyRequest, saver: &Saver, diags: &mut Diagnostics) {
        at_apply::delete(self.fault, &request, saver, diags);
    }

    async fn read(&self, _ctx: &Context, prior: State, diags: &mut Diagnostics) -> Option<State> {
        at_read::read(self.fault, prior, diags)
    }

    async fn import(&self, _ctx: &Context, id: &str, diags: &mut Diagnostics) -> Option<State> {
        at_read::import(self.fault, &self.schema, id, diags)
    }

    fn upgrade(&self, version: i64, mut state: serde_json::Value) -> Result<serde_json::Value, String> {
        match self.fault {
            Fault::UpgradeFails => Err(format!("version {version} had no name")),
            Fault::UpgradePanics => panic!("upgrade fell over"),
            _ => {
                // Version 1 called the name a title.
                if let Some(title) = state.get("title").cloned() {
                    state["name"] = title;
                }
                Ok(state)
            }
        }
    }
}

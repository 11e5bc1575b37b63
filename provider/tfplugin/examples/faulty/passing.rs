//! `faulty_passing`: an ephemeral resource, which notes that it was opened, renewed and closed.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tfplugin::schema::{Attribute, Schema};
use tfplugin::value::{Path, Type, Value};
use tfplugin::{Context, Diagnostics, EphemeralResource, Opened, Renewed};

use crate::fault::Fault;
use crate::note;

pub(crate) struct Passing {
    fault: Fault,
    schema: Schema,
}

impl Passing {
    pub(crate) fn new(fault: Fault) -> Self {
        let schema = Schema::new([
            Attribute::required("name", Type::String),
            Attribute::computed("secret", Type::String).sensitive(),
        ]);
        Self { fault, schema }
    }
}

#[async_trait]
impl EphemeralResource for Passing {
    fn type_name(&self) -> &str {
        "faulty_passing"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        if config.field("name").as_str() == Some("") {
            diags.error(Some(Path::attribute("name")), "Nobody", "Say whose secret it is.");
        }
    }

    async fn open(&self, _ctx: &Context, mut config: Value, diags: &mut Diagnostics) -> Option<Opened> {
        let name = config.field("name").as_str().unwrap_or_default().to_owned();
        config.set(&Path::attribute("secret"), format!("hush-{name}"));
        match self.fault {
            Fault::EphemeralOpensNothing => return None,
            Fault::EphemeralLeavesUnknown => {
                config.set(&Path::attribute("secret"), Value::Unknown);
            }
            Fault::EphemeralFails => diags.error(None, "No connection", "The vault does not answer."),
            Fault::EphemeralPanics => panic!("opening fell over"),
            _ => {}
        }
        note(&format!("opened {name}"));
        Some(Opened {
            value: config,
            renew_at: Some(SystemTime::now() + Duration::from_secs(3600)),
            private: format!("{name} once").into_bytes(),
        })
    }

    async fn renew(&self, _ctx: &Context, private: Vec<u8>, _diags: &mut Diagnostics) -> Option<Renewed> {
        note(&format!("renewed {}", String::from_utf8_lossy(&private)));
        Some(Renewed {
            renew_at: None,
            private: b"twice".to_vec(),
        })
    }

    async fn close(&self, _ctx: &Context, private: Vec<u8>, diags: &mut Diagnostics) {
        if self.fault == Fault::EphemeralIsNotClosed {
            diags.error(None, "Not closed", "The vault is gone.");
        }
        note(&format!("closed {}", String::from_utf8_lossy(&private)));
    }
}

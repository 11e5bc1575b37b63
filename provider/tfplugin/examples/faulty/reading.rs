//! `faulty_reading`: a data source.

use async_trait::async_trait;
use tfplugin::schema::{Attribute, Schema};
use tfplugin::value::{Path, Type, Value};
use tfplugin::{Context, DataSource, Diagnostics};

use crate::fault::Fault;

pub(crate) struct Reading {
    fault: Fault,
    schema: Schema,
}

impl Reading {
    pub(crate) fn new(fault: Fault) -> Self {
        let schema = Schema::new([
            Attribute::required("name", Type::String),
            Attribute::computed("value", Type::Number),
        ]);
        Self { fault, schema }
    }
}

#[async_trait]
impl DataSource for Reading {
    fn type_name(&self) -> &str {
        "faulty_reading"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn read(&self, _ctx: &Context, mut config: Value, diags: &mut Diagnostics) -> Option<Value> {
        config.set(&Path::attribute("value"), 42);
        match self.fault {
            Fault::DataFindsNothing => return None,
            Fault::DataLeavesUnknown => {
                config.set(&Path::attribute("value"), Value::Unknown);
            }
            Fault::DataFails => diags.error(None, "No connection", "The sensor does not answer."),
            Fault::DataPanics => panic!("reading fell over"),
            _ => {}
        }
        Some(config)
    }
}

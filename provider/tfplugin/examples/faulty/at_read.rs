//! Faults of read and import.

use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{Diagnostics, State};

use crate::fault::Fault;

/// Reads, and breaks the rule that `fault` names.
pub(crate) fn read(fault: Fault, mut prior: State, diags: &mut Diagnostics) -> Option<State> {
    let mut set = |name: &str, value: Value| {
        prior.value.set(&Path::attribute(name), value);
    };
    match fault {
        Fault::ReadLeavesUnknown => set("id", Value::Unknown),
        Fault::ReadFindsNothing => return None,
        Fault::ReadKeepsWriteOnly => set("secret_wo", Value::from("hunter2")),
        Fault::ReadHasWrongType => set("name", Value::Bool(true)),
        Fault::ReadFails => diags.error(None, "No connection", "The host does not answer."),
        Fault::ReadPanics => panic!("read fell over"),
        _ => {}
    }
    Some(prior)
}

/// Imports, and breaks the rule that `fault` names.
pub(crate) fn import(fault: Fault, schema: &Schema, id: &str, diags: &mut Diagnostics) -> Option<State> {
    let mut value = schema.empty_value();
    let mut set = |name: &str, new: Value| {
        value.set(&Path::attribute(name), new);
    };
    set("id", Value::from(id));
    set("name", Value::from("a"));
    set("mode", Value::from("auto"));
    match fault {
        Fault::ImportFindsNothing => return None,
        Fault::ImportIsNull => value = Value::Null,
        Fault::ImportLeavesUnknown => set("mode", Value::Unknown),
        Fault::ImportKeepsWriteOnly => set("secret_wo", Value::from("hunter2")),
        Fault::ImportHasWrongType => set("name", Value::Bool(true)),
        Fault::ImportFails => diags.error(None, "No connection", "The host does not answer."),
        Fault::ImportPanics => panic!("import fell over"),
        _ => {}
    }
    Some(State {
        value,
        private: Vec::new(),
    })
}

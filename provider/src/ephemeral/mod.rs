//! Ephemeral resources: codes for other configuration, stored nowhere.

use std::sync::Arc;

use async_trait::async_trait;
use labyard_labs::code::keep::KeptValue;
use labyard_schema::data::AccessCodeEphemeral;
use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{Context, Diagnostics, EphemeralResource, Opened};

use crate::data::{Asked, find_code};
use crate::provider::Shared;
use crate::{shape, values};

/// All of them.
pub fn all(shared: &Arc<Shared>) -> Vec<Arc<dyn EphemeralResource>> {
    vec![Arc::new(Codes {
        schema: shape::schema::<AccessCodeEphemeral>(0),
        shared: shared.clone(),
    })]
}

struct Codes {
    schema: Schema,
    shared: Arc<Shared>,
}

#[async_trait]
impl EphemeralResource for Codes {
    fn type_name(&self) -> &str {
        "labyard_access_code"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<AccessCodeEphemeral>(config, diags);
    }

    async fn open(&self, _ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Opened> {
        let asked: AccessCodeEphemeral = values::known(&config, diags)?;
        let kept = find_code(&self.shared, &asked.name, Asked::Texts, diags).await?;
        if kept.values.values().any(KeptValue::is_hidden) {
            let detail = format!(
                "What is typed to redeem access code {} may not be read by this token: use one of the role admin.",
                asked.name
            );
            diags.error(None, "Access code not readable", detail);
            return None;
        }
        if let Some(id) = asked.id.as_ref().filter(|id| **id != kept.id) {
            let detail = format!(
                "Access code {} has the id {}, not {id}: it was made anew, or is another one.",
                asked.name, kept.id
            );
            diags.error(Some(Path::attribute("id")), "Another code", detail);
            return None;
        }
        let texts = kept.texts();
        let codes = texts
            .iter()
            .map(|(label, text)| (label.clone(), text.to_string()));
        let shown = AccessCodeEphemeral {
            codes: Some(codes.collect()),
            id: Some(kept.id),
            name: asked.name,
        };
        Some(Opened {
            value: values::whole(&shown, &self.schema, diags)?,
            renew_at: None,
            private: Vec::new(),
        })
    }
}

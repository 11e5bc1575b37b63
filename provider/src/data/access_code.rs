//! `labyard_access_code` as a data source: how often it was used, and its claims.

use std::sync::Arc;

use async_trait::async_trait;
use labyard_labs::Refusal;
use labyard_labs::code::keep::Kept;
use labyard_labs::ids::CodeName;
use labyard_schema::data::{AccessCodeData, CodeValueData};
use tfplugin::schema::Schema;
use tfplugin::value::{Path, Value};
use tfplugin::{Context, DataSource, Diagnostics};

use crate::lab::{LabError, Looked, say};
use crate::provider::Shared;
use crate::{shape, values};

pub(super) struct AccessCodeSource {
    schema: Schema,
    shared: Arc<Shared>,
}

impl AccessCodeSource {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            schema: shape::schema::<AccessCodeData>(0),
            shared,
        }
    }
}

/// What is asked of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Everything but what is typed to redeem it, which not everybody may read, and whose reading is logged.
    Uses,
    /// What is typed, too.
    Texts,
}

/// The code of a name in the provider's namespace; an error where there is none.
pub(crate) async fn find(shared: &Shared, name: &str, asked: Asked, diags: &mut Diagnostics) -> Option<Kept> {
    let context = shared.context(diags)?;
    let code = CodeName(name.to_owned());
    let found = match context.labs.to_look("An access code", &[], diags).await? {
        Looked::There(met) => match asked {
            Asked::Uses => met.lab.code_uses(&code).await,
            Asked::Texts => met.lab.code(&code, &Default::default()).await,
        },
        Looked::NotMade => Err(Refusal::NoCode { name: code }.into()),
    };
    match found {
        Ok(kept) => Some(kept),
        Err(LabError::Refused(refusal @ Refusal::NoCode { .. })) => {
            let detail = format!(
                "{} in namespace {}.",
                crate::errors::capitalised(refusal.to_string()),
                context.namespace
            );
            diags.error(Some(Path::attribute("name")), "Not found", detail);
            None
        }
        Err(error) => {
            say(&error, "Access code not readable", diags);
            None
        }
    }
}

#[async_trait]
impl DataSource for AccessCodeSource {
    fn type_name(&self) -> &str {
        "labyard_access_code"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        shape::check::<AccessCodeData>(config, diags);
    }

    async fn read(&self, _ctx: &Context, config: Value, diags: &mut Diagnostics) -> Option<Value> {
        let asked: AccessCodeData = values::known(&config, diags)?;
        let kept = find(&self.shared, &asked.name, Asked::Uses, diags).await?;
        values::whole(&shown(asked.name, &kept), &self.schema, diags)
    }
}

fn shown(name: String, kept: &Kept) -> AccessCodeData {
    let whole = |number: i64| u64::try_from(number).unwrap_or_default();
    let codes = kept.values.iter().map(|(label, value)| {
        let code = CodeValueData {
            uses: Some(whole(value.uses)),
            max_uses: value.max_uses.map(whole),
            revoked: Some(value.is_revoked()),
        };
        (label.clone(), code)
    });
    let claims = kept
        .claims
        .iter()
        .map(|(phase, count)| ((*phase).to_owned(), whole(*count)));
    AccessCodeData {
        name,
        id: Some(kept.id.clone()),
        uses: Some(kept.values.values().map(|value| whole(value.uses)).sum()),
        codes: Some(codes.collect()),
        claims: Some(claims.collect()),
    }
}

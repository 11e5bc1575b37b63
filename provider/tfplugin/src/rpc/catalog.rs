//! What the provider offers, by name, with the types that its values have on the wire.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::wire::fault;
use crate::diag::Diagnostics;
use crate::traits::{DataSource, EphemeralResource, Provider, Resource};
use crate::value::Type;

/// A resource or data source and the type of its values.
pub(super) struct Entry<T: ?Sized> {
    pub(super) item: Arc<T>,
    pub(super) ty: Arc<Type>,
}

// Derived, it would demand that the resource itself can be cloned.
impl<T: ?Sized> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self {
            item: self.item.clone(),
            ty: self.ty.clone(),
        }
    }
}

/// All that the provider offers.
pub(super) struct Catalog {
    pub(super) provider_type: Type,
    pub(super) resources: BTreeMap<String, Entry<dyn Resource>>,
    pub(super) data_sources: BTreeMap<String, Entry<dyn DataSource>>,
    pub(super) ephemeral_resources: BTreeMap<String, Entry<dyn EphemeralResource>>,
}

impl Catalog {
    pub(super) fn of(provider: &dyn Provider) -> Self {
        let resources = provider.resources().into_iter().map(|item| {
            let ty = Arc::new(item.schema().implied_type());
            (item.type_name().to_owned(), Entry { item, ty })
        });
        let data_sources = provider.data_sources().into_iter().map(|item| {
            let ty = Arc::new(item.schema().implied_type());
            (item.type_name().to_owned(), Entry { item, ty })
        });
        let ephemeral_resources = provider.ephemeral_resources().into_iter().map(|item| {
            let ty = Arc::new(item.schema().implied_type());
            (item.type_name().to_owned(), Entry { item, ty })
        });
        Self {
            provider_type: provider.schema().implied_type(),
            resources: resources.collect(),
            data_sources: data_sources.collect(),
            ephemeral_resources: ephemeral_resources.collect(),
        }
    }

    pub(super) fn resource(&self, name: &str) -> Result<&Entry<dyn Resource>, Diagnostics> {
        self.resources
            .get(name)
            .ok_or_else(|| unknown("resource type", name))
    }

    pub(super) fn data_source(&self, name: &str) -> Result<&Entry<dyn DataSource>, Diagnostics> {
        self.data_sources
            .get(name)
            .ok_or_else(|| unknown("data source", name))
    }

    pub(super) fn ephemeral_resource(
        &self,
        name: &str,
    ) -> Result<&Entry<dyn EphemeralResource>, Diagnostics> {
        self.ephemeral_resources
            .get(name)
            .ok_or_else(|| unknown("ephemeral resource", name))
    }
}

fn unknown(what: &str, name: &str) -> Diagnostics {
    let detail = format!("This version of the provider has no {what} {name:?}. Another version may.");
    fault(format!("Unknown {what}"), detail)
}

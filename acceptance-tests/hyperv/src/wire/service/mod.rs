//! What each verb does: between envelopes and the model, by the schema.

mod change;
mod find;
mod invoke;
mod itself;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cim::Instance;
use crate::contract::{Model, WmiFault};
use crate::schema::{Class, Namespace, Schema};

pub(crate) use itself::identity;

use super::config::{Access, Config, User};
use super::control::{Control, Described};
use super::enumeration::Enumerations;
use super::envelope::{Endpoint, Request, Resource, Selector, Verb};
use super::fault::{Fault, Kind};
use super::names::{ENUMERATION, TRANSFER, WQL, class_uri};
use super::wql::{self, Query};
use super::xml::Element;

/// What an answer holds.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) action: String,
    pub(crate) body: String,
    /// Why a method was refused before it was called, if it was. Only the log tells.
    pub(crate) why: String,
}

/// Whether Hyper-V shows what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    /// By a rule.
    Nothing,
}

impl Reply {
    fn new(action: String, body: impl Into<String>) -> Self {
        Self {
            action,
            body: body.into(),
            why: String::new(),
        }
    }
}

/// A service in front of a model.
pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) control: Control,
    schema: &'static Schema,
    model: Mutex<Box<dyn Model>>,
    enumerations: Mutex<Enumerations>,
    ids: AtomicU64,
}

impl Service {
    pub(crate) fn new(config: Config, model: Box<dyn Model>) -> Self {
        Self {
            schema: Schema::of(config.build),
            config,
            control: Control::default(),
            model: Mutex::new(model),
            enumerations: Mutex::default(),
            ids: AtomicU64::new(1),
        }
    }

    fn model(&self) -> MutexGuard<'_, Box<dyn Model>> {
        // What a model that panicked holds is still what the host holds.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enumerations(&self) -> MutexGuard<'_, Enumerations> {
        self.enumerations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is gone when the service starts anew.
    pub(crate) fn restarted(&self) {
        self.enumerations().clear();
    }

    /// An id that no other message has.
    pub(crate) fn id(&self) -> String {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let random =
            std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), number);
        format!(
            "{:08X}-{:04X}-4{:03X}-8{:03X}-{number:012X}",
            random >> 32,
            random >> 16 & 0xffff,
            random >> 4 & 0xfff,
            random & 0xfff
        )
    }

    /// How large an answer may be.
    pub(crate) fn answer_limit(&self, request: &Request) -> usize {
        let most = self.config.limits.envelope_kib * 1024;
        request.max_envelope.map_or(most, |wanted| wanted.min(most))
    }

    /// Answers.
    pub(crate) fn answer(&self, user: &User, request: &Request, shown: Shown) -> Result<Reply, Fault> {
        if request.verb == Verb::Identify {
            return Ok(self.identify());
        }
        match &request.resource {
            Resource::Config => self.settings(user, request),
            Resource::Other(uri) => {
                let reason = format!("The service cannot find the resource {uri}");
                Err(Fault::new(Kind::Unreachable, reason))
            }
            Resource::None => Err(Fault::new(Kind::Unreachable, "a request without a resource")),
            Resource::All { .. } | Resource::Class { .. } => self.of_wmi(user, request, shown),
        }
    }

    fn of_wmi(&self, user: &User, request: &Request, shown: Shown) -> Result<Reply, Fault> {
        match &request.verb {
            Verb::Enumerate => self.enumerate(user, request, shown),
            Verb::Pull => self.pull(user, request),
            Verb::Release => self.release(user, request),
            Verb::Get => self.get(user, request),
            Verb::Put => self.put(user, request),
            Verb::Create => self.create(user, request),
            Verb::Delete => self.delete(user, request),
            Verb::Invoke(method) => self.invoke(user, request, method),
            Verb::Identify => Ok(self.identify()),
        }
    }

    /// The class that a request is about.
    fn class(&self, request: &Request) -> Result<(&'static Namespace, &'static Class), Fault> {
        let Resource::Class { namespace, class } = &request.resource else {
            return Err(Fault::new(
                Kind::Unreachable,
                "this is for one class, not for all",
            ));
        };
        let space = self.schema.namespace(namespace).ok_or_else(|| {
            Fault::wmi(
                WmiFault::INVALID_NAMESPACE,
                format!("Invalid namespace {namespace}"),
            )
        })?;
        let class = space.class(class).ok_or_else(|| {
            Fault::wmi(
                WmiFault::INVALID_CLASS,
                format!("The class {class} does not exist in the {namespace} namespace"),
            )
        })?;
        Ok((space, class))
    }

    fn access(&self, user: &User, namespace: &str, class: &str) -> Result<Shown, Fault> {
        match user.rights.to(namespace, class) {
            Access::Granted => Ok(Shown::All),
            Access::Empty => Ok(Shown::Nothing),
            Access::Service => Err(Fault::new(Kind::AccessDenied, "Access is denied.")),
            Access::Wmi => Err(Fault::wmi(WmiFault::ACCESS_DENIED, "Access denied")),
        }
    }

    /// Whether the model keeps to the schema: what it says that is not in there is its fault, and said aloud.
    fn fits(&self, class: &Class, instance: &Instance) -> Result<(), Fault> {
        let wrong = instance
            .properties()
            .iter()
            .find(|(name, value)| class.property(name).is_none_or(|member| !member.admits(value)));
        let right = instance.class.eq_ignore_ascii_case(&class.name);
        let Some(what) = wrong
            .map(|(name, value)| format!("{name}: {value:?}"))
            .or_else(|| (!right).then(|| format!("an instance of {}", instance.class)))
        else {
            return Ok(());
        };
        self.control.complain(format!("{}: {what}", class.name));
        Err(Fault::new(
            Kind::Internal,
            format!("the model is wrong about {}: {what}", class.name),
        ))
    }

    /// A request as rules and log see it.
    pub(crate) fn describe(&self, request: &Request) -> Described {
        let mut described = Described {
            verb: request.verb.name(),
            namespace: request.resource.namespace().unwrap_or_default().to_owned(),
            about: named(&request.selectors),
            ..Described::default()
        };
        if let Resource::Class { class, .. } = &request.resource {
            described.class.clone_from(class);
        }
        match &request.verb {
            Verb::Invoke(method) => {
                described.method.clone_from(method);
                for element in request.body.iter().flat_map(|body| &body.children) {
                    if let Ok(endpoint) = Endpoint::read(element) {
                        described.about.push_str(&format!(
                            " {}={}",
                            element.name,
                            named(&endpoint.selectors)
                        ));
                    }
                }
            }
            Verb::Enumerate => {
                if let Some(filter) = request.body.as_ref().and_then(filter) {
                    described.about = filter.text.trim().to_owned();
                    described.class = match wql::parse(filter.text.trim()) {
                        Ok(Query::Select(select)) => select.class,
                        Ok(Query::Associators(query)) => query.result.unwrap_or(query.class),
                        Err(_) => String::new(),
                    };
                }
            }
            Verb::Pull | Verb::Release => {
                let id = request
                    .body
                    .as_ref()
                    .and_then(|body| body.child(ENUMERATION, "EnumerationContext"));
                if let Some(found) = id.and_then(|id| {
                    self.enumerations()
                        .peek(id.text.trim())
                        .map(|found| found.class.clone())
                }) {
                    described.class = found;
                }
            }
            _ => {}
        }
        described
    }
}

/// Selectors, for a person.
fn named(selectors: &[(String, Selector)]) -> String {
    let all = selectors.iter().map(|(name, value)| match value {
        Selector::Text(text) => format!("{name}={text}"),
        Selector::Object(endpoint) => format!("{name}=({})", named(&endpoint.selectors)),
    });
    all.collect::<Vec<_>>().join(",")
}

/// The filter of an enumeration.
fn filter(body: &Element) -> Option<&Element> {
    body.children.iter().find(|child| child.name == "Filter")
}

/// Whether a filter is a query in WQL.
fn is_wql(filter: &Element) -> bool {
    filter.attribute("", "Dialect").map(str::trim) == Some(WQL)
}

/// The action of an answer.
fn answer_to(verb: &Verb, namespace: &str, class: &str) -> String {
    match verb {
        Verb::Enumerate | Verb::Pull | Verb::Release => format!("{ENUMERATION}/{}Response", verb.name()),
        Verb::Get | Verb::Put | Verb::Create | Verb::Delete => format!("{TRANSFER}/{}Response", verb.name()),
        Verb::Invoke(method) => format!("{}/{method}Response", class_uri(namespace, class)),
        Verb::Identify => String::new(),
    }
}

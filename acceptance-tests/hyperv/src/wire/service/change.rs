//! Put, Create and Delete.

use crate::cim::{Instance, Value};
use crate::contract::WmiFault;
use crate::schema::{Arity, Class, Namespace};

use super::super::config::User;
use super::super::envelope::{Request, Verb};
use super::super::fault::{Fault, Kind};
use super::super::names::{WSMAN, class_uri};
use super::super::object::{self, Bad};
use super::{Reply, Service, Shown, answer_to};

impl Service {
    /// A whole instance, or the one property that a fragment is about.
    pub(super) fn put(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        let (namespace, class) = self.class(request)?;
        let (path, current) = self.object(user, request, namespace, class)?;
        let sent = match &request.fragment {
            Some(name) => self.sent_fragment(request, namespace, class, name)?,
            None => {
                let sent = object::instance(self.schema, namespace, class, request.body.as_ref())?;
                whole(class, request, &current)?;
                sent
            }
        };
        // What is as it was is no change.
        let mut changes = Instance::of(&namespace.name, &class.name);
        for (name, value) in sent.properties() {
            if current.get(name) != value {
                changes.set(name, value.clone());
            }
        }
        let put = self.model().put(&path, &changes);
        let now = put.map_err(|fault| Fault::wmi(fault, format!("Put of {}", object::wmi_path(&path))))?;
        self.fits(class, &now)?;
        Ok(Reply::new(
            answer_to(&Verb::Put, "", ""),
            match request.fragment.as_deref().and_then(|name| class.property(name)) {
                Some(member) => object::one_property(namespace, class, member, now.get(&member.name)),
                None => object::row(namespace, class, &now),
            },
        ))
    }

    fn sent_fragment(
        &self,
        request: &Request,
        namespace: &Namespace,
        class: &Class,
        name: &str,
    ) -> Result<Instance, Fault> {
        let invalid = |what: String| Fault::new(Kind::SchemaValidation, what);
        let member = class.property(name);
        let member = member.ok_or_else(|| {
            Fault::new(
                Kind::UnsupportedFeature,
                format!("{name} is no property of {}", class.name),
            )
        })?;
        let body = request.body.as_ref().filter(|body| body.is(WSMAN, "XmlFragment"));
        let body = body.ok_or_else(|| invalid("the body holds no XmlFragment".to_owned()))?;
        let uri = class_uri(&namespace.name, &class.name);
        let read = object::values(self.schema, namespace, &uri, &[member], &body.children);
        let read = read.map_err(|bad| match bad {
            Bad::Fault(fault) => fault,
            Bad::Instance(refusal) => invalid(refusal.to_string()),
        })?;
        let mut sent = Instance::of(&namespace.name, &class.name);
        // An empty fragment of an array is an empty array.
        let nothing = match member.arity {
            Arity::Array => Value::Array(Vec::new()),
            Arity::One => return one_value(sent, read).ok_or_else(|| invalid(format!("no value of {name}"))),
        };
        sent.set(&member.name, read.into_values().next().unwrap_or(nothing));
        Ok(sent)
    }

    pub(super) fn create(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        let (namespace, class) = self.class(request)?;
        if self.access(user, &namespace.name, &class.name)? == Shown::Nothing {
            return Err(Fault::wmi(WmiFault::ACCESS_DENIED, "Access denied"));
        }
        if !request.selectors.is_empty() {
            return Err(Fault::new(
                Kind::InvalidSelectors,
                "what is created has no selectors yet",
            ));
        }
        let instance = object::instance(self.schema, namespace, class, request.body.as_ref())?;
        let made = self.model().create(instance);
        let path = made.map_err(|fault| Fault::wmi(fault, format!("Create of a {}", class.name)))?;
        Ok(Reply::new(
            answer_to(&Verb::Create, "", ""),
            format!(
                "<x:ResourceCreated>{}</x:ResourceCreated>",
                object::endpoint(&path)
            ),
        ))
    }

    pub(super) fn delete(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        let (namespace, class) = self.class(request)?;
        let (path, _) = self.object(user, request, namespace, class)?;
        let deleted = self.model().delete(&path);
        deleted.map_err(|fault| Fault::wmi(fault, format!("Delete of {}", object::wmi_path(&path))))?;
        Ok(Reply::new(answer_to(&Verb::Delete, "", ""), String::new()))
    }
}

fn one_value(mut sent: Instance, read: std::collections::BTreeMap<String, Value>) -> Option<Instance> {
    let (name, value) = read.into_iter().next()?;
    sent.set(&name, value);
    Some(sent)
}

/// A Put replaces: a property that is there and is not sent would be lost without a word.
fn whole(class: &Class, request: &Request, current: &Instance) -> Result<(), Fault> {
    let sent = request.body.iter().flat_map(|body| &body.children);
    let sent: Vec<_> = sent.map(|child| child.name.to_lowercase()).collect();
    let missing = class.properties().find(|member| {
        let there = current.get(&member.name);
        !there.is_null() && there != &Value::Array(Vec::new()) && !sent.contains(&member.name.to_lowercase())
    });
    match missing {
        None => Ok(()),
        Some(member) => {
            let reason = format!(
                "a Put is of the whole object or of a fragment: {} is missing",
                member.name
            );
            Err(Fault::new(Kind::SchemaValidation, reason))
        }
    }
}

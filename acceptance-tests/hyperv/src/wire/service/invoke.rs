//! Invoke.

use std::collections::BTreeMap;

use crate::cim::{Path, Value};
use crate::contract::{Parameters, WmiFault};
use crate::schema::{Arity, Class, Kind as Holds, Member, Method, Namespace, Receiver};

use super::super::cim_xml::Said;
use super::super::config::User;
use super::super::envelope::{Request, Verb};
use super::super::fault::{Fault, Kind};
use super::super::names::class_uri;
use super::super::object::{self, Bad};
use super::{Reply, Service, Shown, answer_to};

/// Access denied, as Hyper-V's methods return it.
const DENIED: u32 = 32769;

impl Service {
    pub(super) fn invoke(&self, user: &User, request: &Request, method: &str) -> Result<Reply, Fault> {
        let (namespace, class) = self.class(request)?;
        let found = class.method(method).ok_or_else(|| {
            // WBEM_E_INVALID_METHOD
            Fault::wmi(
                WmiFault(0x8004_102E),
                format!("{} has no method {method}", class.name),
            )
        })?;
        let may = self.access(user, &namespace.name, &class.name)?;
        let object = self.receiver(request, namespace, class, found)?;
        let mut why = String::new();
        let output = match self.input(request, namespace, class, found) {
            Err(Bad::Fault(fault)) => return Err(fault),
            Err(Bad::Instance(refusal)) => match (refusal.said(class), found.returns) {
                (Said::Returned(number), Some(_)) => {
                    why = refusal.to_string();
                    returned(number)
                }
                _ => return Err(Fault::wmi(WmiFault::INVALID_PARAMETER, refusal.to_string())),
            },
            Ok(_) if may == Shown::Nothing => returned(DENIED),
            Ok(input) => {
                let done = self.model().invoke(&object, &found.name, &input);
                done.map_err(|fault| Fault::wmi(fault, format!("{} of {}", found.name, class.name)))?
            }
        };
        let values = self.output(class, found, &output)?;
        Ok(Reply {
            action: answer_to(&Verb::Invoke(found.name.clone()), &namespace.name, &class.name),
            body: object::output(namespace, class, &found.name, &values),
            why,
        })
    }

    /// What a method is called on. A service is named by its CreationClassName, and need not be by more.
    fn receiver(
        &self,
        request: &Request,
        namespace: &Namespace,
        class: &Class,
        method: &Method,
    ) -> Result<Path, Fault> {
        let service = class.is_a("CIM_Service");
        let selectors = &request.selectors;
        if selectors.is_empty() && (method.of == Receiver::Class || class.keys.is_empty()) {
            return object::keyed(self.schema, &namespace.name, class, selectors);
        }
        if selectors.is_empty()
            && class
                .name
                .eq_ignore_ascii_case("Msvm_VirtualSystemManagementService")
        {
            return Err(Fault::wmi(
                WmiFault::INVALID_METHOD_PARAMETERS,
                "Invalid method parameter(s)",
            ));
        }
        if selectors.is_empty() && service {
            return Err(Fault::new(
                Kind::Internal,
                format!("{} is called without a selector", class.name),
            ));
        }
        if !service {
            return self.path(request, namespace, class);
        }
        let path = object::keyed(self.schema, &namespace.name, class, selectors)?;
        match path.keys.get("CreationClassName") {
            Some(name) if name.eq_ignore_ascii_case(&class.name) => Ok(path),
            _ => Err(Fault::new(
                Kind::Unreachable,
                format!("{} is named by its CreationClassName", class.name),
            )),
        }
    }

    fn input(
        &self,
        request: &Request,
        namespace: &Namespace,
        class: &Class,
        method: &Method,
    ) -> Result<BTreeMap<String, Value>, Bad> {
        let uri = class_uri(&namespace.name, &class.name);
        let wanted = format!("{}_INPUT", method.name);
        let body = request.body.as_ref();
        let body = body
            .filter(|body| body.name.eq_ignore_ascii_case(&wanted) && body.space.eq_ignore_ascii_case(&uri));
        let body = body.ok_or_else(|| {
            Fault::new(
                Kind::SchemaValidation,
                format!("the body holds no {wanted} of the class's namespace"),
            )
        })?;
        let members: Vec<_> = method.input.iter().collect();
        let mut read = object::values(self.schema, namespace, &uri, &members, &body.children)?;
        // A parameter that is nil was not given.
        read.retain(|_, value| !value.is_null());
        Ok(read)
    }

    /// What a method gave, held against the schema.
    fn output(
        &self,
        class: &Class,
        method: &Method,
        output: &Parameters,
    ) -> Result<Vec<(Member, Value)>, Fault> {
        let returns = method.returns.map(|scalar| Member {
            name: "ReturnValue".to_owned(),
            kind: Holds::Plain(scalar),
            arity: Arity::One,
        });
        // libvirt takes the first InstanceID of an answer to AddResourceSettings for that of the new row, and works: so what
        // results stands before the job, as in the signature.
        let members: Vec<_> = method.output.iter().cloned().chain(returns).collect();
        let known = |name: &str| members.iter().find(|member| member.name == name);
        for (name, value) in output {
            if known(name).is_none_or(|member| !member.admits(value)) {
                let what = format!("{}.{} gives {name}: {value:?}", class.name, method.name);
                self.control.complain(what.clone());
                return Err(Fault::new(Kind::Internal, what));
            }
        }
        let value = |member: &Member| output.get(&member.name).cloned().unwrap_or(Value::Null);
        Ok(members
            .iter()
            .map(|member| (member.clone(), value(member)))
            .collect())
    }
}

fn returned(number: u32) -> Parameters {
    [("ReturnValue".to_owned(), Value::Unsigned(number.into()))].into()
}

//! Enumerate, Pull, Release and Get.

use crate::cim::{Instance, Path, Value};
use crate::contract::WmiFault;
use crate::schema::{Class, Member, Namespace};

use super::super::config::User;
use super::super::enumeration::Enumeration;
use super::super::envelope::{Request, Resource, Selector, Verb};
use super::super::fault::{Fault, Kind};
use super::super::names::{ENUMERATION, WSMAN};
use super::super::object;
use super::super::wql::{self, Associators, Object, Query, Select};
use super::super::xml::Element;
use super::{Reply, Service, Shown, answer_to, is_wql};

/// How the rows of an enumeration are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Objects,
    References,
    Both,
}

/// What an Enumerate asks for.
struct Wanted<'a> {
    mode: Mode,
    filter: Option<&'a Element>,
    /// How many rows the first answer may have; none without OptimizeEnumeration.
    first: Option<usize>,
}

impl<'a> Wanted<'a> {
    fn read(request: &'a Request, batch: usize) -> Result<Self, Fault> {
        let body = request
            .body
            .as_ref()
            .filter(|body| body.is(ENUMERATION, "Enumerate"));
        let body = body.ok_or_else(|| Fault::new(Kind::SchemaValidation, "the body holds no Enumerate"))?;
        let mut wanted = Wanted {
            mode: Mode::Objects,
            filter: None,
            first: None,
        };
        let (mut optimised, mut most) = (false, None);
        for child in &body.children {
            match (child.space.as_str(), child.name.as_str()) {
                (WSMAN, "OptimizeEnumeration") => optimised = true,
                (WSMAN, "MaxElements") => most = Some(count(child)?),
                (WSMAN, "EnumerationMode") => {
                    wanted.mode = match child.text.trim() {
                        "EnumerateEPR" => Mode::References,
                        "EnumerateObjectAndEPR" => Mode::Both,
                        other => {
                            let reason = format!("the mode {other} is not known");
                            return Err(Fault::new(Kind::UnsupportedFeature, reason));
                        }
                    }
                }
                (WSMAN | ENUMERATION, "Filter") => wanted.filter = Some(child),
                // How long a context is to live is the service's own setting; base and derived classes come either way.
                (ENUMERATION, "Expires") | (_, "PolymorphismMode") => {}
                (_, other) => {
                    let reason = format!("{other} has no place in Enumerate");
                    return Err(Fault::new(Kind::SchemaValidation, reason));
                }
            }
        }
        wanted.first = optimised.then(|| most.unwrap_or(1).min(batch));
        Ok(wanted)
    }
}

fn count(element: &Element) -> Result<usize, Fault> {
    let number = element.text.trim().parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| {
        Fault::new(
            Kind::SchemaValidation,
            format!("{}: {:?}", element.name, element.text),
        )
    })
}

/// A row before it is written.
struct Row {
    class: &'static Class,
    instance: Instance,
    /// What a projection leaves of it.
    fragment: Option<Vec<(Member, Value)>>,
}

fn unprocessable(reason: impl Into<String>) -> Fault {
    Fault::new(Kind::CannotProcessFilter, reason)
}

impl Service {
    pub(super) fn enumerate(&self, user: &User, request: &Request, shown: Shown) -> Result<Reply, Fault> {
        let wanted = Wanted::read(request, self.config.limits.batch)?;
        if !request.selectors.is_empty() {
            return Err(Fault::new(
                Kind::InvalidSelectors,
                "an enumeration has no selectors",
            ));
        }
        let (namespace, class, rows) = self.found(user, request, &wanted, shown)?;
        let rows = rows
            .iter()
            .map(|row| written(namespace, row, wanted.mode))
            .collect();
        let mut enumeration = Enumeration::new(&user.name, &namespace.name, &class, rows);
        let id = format!("uuid:{}", self.id());
        let context = format!("<n:EnumerationContext>{id}</n:EnumerationContext>");
        let inside = match wanted.first {
            None => context,
            Some(most) => {
                let page = enumeration.page(most, self.answer_limit(request))?;
                let (context, end) = match enumeration.rows.is_empty() {
                    true => ("<n:EnumerationContext/>", "<w:EndOfSequence/>"),
                    false => (context.as_str(), ""),
                };
                format!("{context}<w:Items>{page}</w:Items>{end}")
            }
        };
        if wanted.first.is_none() || !enumeration.rows.is_empty() {
            self.enumerations().keep(id, enumeration, &self.config.limits);
        }
        Ok(Reply::new(
            answer_to(&Verb::Enumerate, "", ""),
            format!("<n:EnumerateResponse>{inside}</n:EnumerateResponse>"),
        ))
    }

    /// What is asked for: namespace, class and rows.
    fn found(
        &self,
        user: &User,
        request: &Request,
        wanted: &Wanted<'_>,
        shown: Shown,
    ) -> Result<(&'static Namespace, String, Vec<Row>), Fault> {
        let Some(filter) = wanted.filter else {
            if matches!(request.resource, Resource::All { .. }) {
                return Err(unprocessable("all classes are enumerated by a query alone"));
            }
            let (namespace, class) = self.class(request)?;
            let may = self.access(user, &namespace.name, &class.name)?;
            let rows = match (shown, may) {
                (Shown::All, Shown::All) => self.all(namespace, class)?,
                _ => Vec::new(),
            };
            for row in &rows {
                self.fits(row.class, &row.instance)?;
            }
            return Ok((namespace, class.name.clone(), rows));
        };
        if !is_wql(filter) {
            return Err(Fault::new(
                Kind::UnknownDialect,
                "the filter's dialect is not known",
            ));
        }
        let Resource::All { namespace: name } = &request.resource else {
            return Err(unprocessable(
                "a query in WQL is asked of all classes of a namespace, not of one",
            ));
        };
        // A namespace that is missing and a query that is none end alike.
        let namespace = self
            .schema
            .namespace(name)
            .ok_or_else(|| unprocessable(format!("no namespace {name}")))?;
        let query = wql::parse(filter.text.trim()).map_err(|bad| unprocessable(bad.to_string()))?;
        let (class, rows) = match query {
            Query::Select(select) => self.select(user, namespace, &select, shown)?,
            Query::Associators(query) => self.associators(user, namespace, &query, shown)?,
        };
        Ok((namespace, class, rows))
    }

    /// All instances of a class and of those below it. What is shown of them has to be held against the schema.
    fn all(&self, namespace: &'static Namespace, class: &'static Class) -> Result<Vec<Row>, Fault> {
        let mut rows = Vec::new();
        for member in namespace.family(&class.name) {
            let found = self.model().instances(&namespace.name, &member.name);
            match found {
                // What a host does not have below a class that it has is not asked for.
                Err(WmiFault::INVALID_CLASS) if member.name != class.name => {}
                Err(fault) => return Err(Fault::wmi(fault, format!("instances of {}", member.name))),
                Ok(instances) => {
                    for instance in instances {
                        rows.push(Row {
                            class: member,
                            instance,
                            fragment: None,
                        });
                    }
                }
            }
        }
        Ok(rows)
    }

    fn select(
        &self,
        user: &User,
        namespace: &'static Namespace,
        select: &Select,
        shown: Shown,
    ) -> Result<(String, Vec<Row>), Fault> {
        let class = namespace.class(&select.class);
        let class = class.ok_or_else(|| unprocessable(format!("there is no class {}", select.class)))?;
        for column in select.columns.iter().flatten() {
            if class.property(column).is_none() && !column.starts_with("__") {
                return Err(unprocessable(format!("{} has no property {column}", class.name)));
            }
        }
        let may = self.access(user, &namespace.name, &class.name)?;
        let all = self.all(namespace, class).map_err(|fault| match fault.number() {
            // A role that is not installed.
            number if number == WmiFault::INVALID_NAMESPACE.0 || number == WmiFault::INVALID_CLASS.0 => {
                unprocessable(fault.reason)
            }
            _ => fault,
        })?;
        let mut rows = Vec::new();
        // A query over nothing is a bad one all the same.
        let nothing = Instance::of(&namespace.name, &class.name);
        self.holds(namespace, class, &nothing, select)?;
        for mut row in all {
            if self.holds(namespace, row.class, &row.instance, select)? {
                self.fits(row.class, &row.instance)?;
                row.fragment = select.columns.as_deref().map(|columns| projected(&row, columns));
                rows.push(row);
            }
        }
        if shown == Shown::Nothing || may == Shown::Nothing {
            rows.clear();
        }
        Ok((class.name.clone(), rows))
    }

    fn holds(
        &self,
        namespace: &Namespace,
        class: &Class,
        instance: &Instance,
        select: &Select,
    ) -> Result<bool, Fault> {
        let Some(condition) = &select.condition else {
            return Ok(true);
        };
        let object = Object {
            server: &self.config.name,
            namespace,
            class,
            instance,
        };
        wql::holds(condition, &object).map_err(|bad| unprocessable(bad.to_string()))
    }

    fn associators(
        &self,
        user: &User,
        namespace: &'static Namespace,
        query: &Associators,
        shown: Shown,
    ) -> Result<(String, Vec<Row>), Fault> {
        let class = namespace.class(&query.class);
        let class = class.ok_or_else(|| unprocessable(format!("there is no class {}", query.class)))?;
        let keys = query
            .keys
            .iter()
            .map(|(key, value)| (key.clone(), Selector::Text(value.clone())));
        let keys: Vec<_> = keys.collect();
        let of = object::keyed(self.schema, &namespace.name, class, &keys)
            .map_err(|fault| unprocessable(fault.reason))?;
        if of.keys.len() != class.keys.len() {
            return Err(unprocessable(format!(
                "the path of a {} has the keys {:?}",
                class.name, class.keys
            )));
        }
        let may = self.access(user, &namespace.name, &class.name)?;
        let family = |name: &Option<String>| -> Result<Vec<Option<&'static str>>, Fault> {
            match name {
                None => Ok(vec![None]),
                Some(name) => {
                    let found = namespace
                        .class(name)
                        .ok_or_else(|| unprocessable(format!("there is no class {name}")))?;
                    Ok(namespace
                        .family(&found.name)
                        .map(|class| Some(class.name.as_str()))
                        .collect())
                }
            }
        };
        let mut rows = Vec::new();
        for association in family(&query.association)? {
            for result in family(&query.result)? {
                let found = self.model().associated(&of, association, result);
                let found = found.map_err(|fault| Fault::wmi(fault, "associators"))?;
                for instance in found {
                    let class = namespace.class(&instance.class).ok_or_else(|| {
                        self.control
                            .complain(format!("an instance of {}, which is no class", instance.class));
                        Fault::new(Kind::Internal, "the model is wrong")
                    })?;
                    self.fits(class, &instance)?;
                    rows.push(Row {
                        class,
                        instance,
                        fragment: None,
                    });
                }
            }
        }
        if shown == Shown::Nothing || may == Shown::Nothing {
            rows.clear();
        }
        Ok((query.result.clone().unwrap_or_else(|| class.name.clone()), rows))
    }

    pub(super) fn pull(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        let (id, body) = context(request, "Pull")?;
        let mut most = 1;
        for child in &body.children {
            match (child.space.as_str(), child.name.as_str()) {
                (ENUMERATION, "EnumerationContext" | "MaxTime") => {}
                (ENUMERATION, "MaxElements") => most = count(child)?.min(self.config.limits.batch),
                (_, other) => {
                    let reason = format!("{other} has no place in Pull");
                    return Err(Fault::new(Kind::SchemaValidation, reason));
                }
            }
        }
        let namespace = request.resource.namespace().unwrap_or_default();
        let mut enumerations = self.enumerations();
        let mut enumeration = enumerations.take(&id, &user.name, namespace)?;
        let page = enumeration.page(most, self.answer_limit(request));
        let ended = enumeration.rows.is_empty();
        // A page that did not fit can be asked for again in a larger envelope.
        if !ended || page.is_err() {
            enumerations.keep(id.clone(), enumeration, &self.config.limits);
        }
        let items = match page? {
            none if none.is_empty() => "<n:Items/>".to_owned(),
            some => format!("<n:Items>{some}</n:Items>"),
        };
        let inside = match ended {
            true => format!("{items}<n:EndOfSequence/>"),
            false => format!("<n:EnumerationContext>{id}</n:EnumerationContext>{items}"),
        };
        Ok(Reply::new(
            answer_to(&Verb::Pull, "", ""),
            format!("<n:PullResponse>{inside}</n:PullResponse>"),
        ))
    }

    pub(super) fn release(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        let (id, _) = context(request, "Release")?;
        let namespace = request.resource.namespace().unwrap_or_default();
        self.enumerations().take(&id, &user.name, namespace)?;
        Ok(Reply::new(answer_to(&Verb::Release, "", ""), String::new()))
    }

    pub(super) fn get(&self, user: &User, request: &Request) -> Result<Reply, Fault> {
        let (namespace, class) = self.class(request)?;
        let row = self.one(user, request, namespace, class)?;
        let body = match &request.fragment {
            None => object::row(namespace, row.class, &row.instance),
            Some(name) => {
                let member = row.class.property(name);
                let member = member.ok_or_else(|| {
                    Fault::new(
                        Kind::UnsupportedFeature,
                        format!("{name} is no property of {}", row.class.name),
                    )
                })?;
                object::one_property(namespace, row.class, member, row.instance.get(&member.name))
            }
        };
        Ok(Reply::new(answer_to(&Verb::Get, "", ""), body))
    }

    /// The path that a request's selectors say: all keys of the class, and nothing else.
    pub(super) fn path(
        &self,
        request: &Request,
        namespace: &Namespace,
        class: &Class,
    ) -> Result<Path, Fault> {
        if request.selectors.is_empty() && !class.keys.is_empty() {
            let reason = format!(
                "The class {} is not a singleton: its keys must be provided.",
                class.name
            );
            return Err(Fault::new(Kind::KeysMissing, reason));
        }
        let path = object::keyed(self.schema, &namespace.name, class, &request.selectors)?;
        if path.keys.len() == class.keys.len() {
            Ok(path)
        } else {
            let reason = format!("the keys of {} are {}", class.name, class.keys.join(", "));
            Err(Fault::new(Kind::Unreachable, reason))
        }
    }

    /// The object that a request's selectors name, with whether it may be seen.
    pub(super) fn object(
        &self,
        user: &User,
        request: &Request,
        namespace: &'static Namespace,
        class: &'static Class,
    ) -> Result<(Path, Instance), Fault> {
        let row = self.one(user, request, namespace, class)?;
        let path = self.path(request, namespace, row.class)?;
        Ok((path, row.instance))
    }

    fn one(
        &self,
        user: &User,
        request: &Request,
        namespace: &'static Namespace,
        class: &'static Class,
    ) -> Result<Row, Fault> {
        let path = self.path(request, namespace, class)?;
        let may = self.access(user, &namespace.name, &class.name)?;
        let missing = || {
            Fault::wmi(
                WmiFault::NOT_FOUND,
                format!("{} was not found", object::wmi_path(&path)),
            )
        };
        if may == Shown::Nothing {
            return Err(missing());
        }
        let mut rows = self.all(namespace, class)?.into_iter();
        let row = rows.find(|row| is_at(row, &path)).ok_or_else(missing)?;
        self.fits(row.class, &row.instance)?;
        Ok(row)
    }
}

/// Whether an object has these keys. Their values have no case.
fn is_at(row: &Row, path: &Path) -> bool {
    let is = object::path_of(row.class, &row.instance);
    is.keys.iter().all(|(key, value)| {
        path.keys
            .get(key)
            .is_some_and(|wanted| wanted.eq_ignore_ascii_case(value))
    })
}

/// The columns of a projection, in the order of the alphabet as those of a row.
fn projected(row: &Row, columns: &[String]) -> Vec<(Member, Value)> {
    let wanted = |member: &&Member| {
        columns
            .iter()
            .any(|column| column.eq_ignore_ascii_case(&member.name))
    };
    let members = row.class.properties().filter(wanted);
    members
        .map(|member| (member.clone(), row.instance.get(&member.name).clone()))
        .collect()
}

fn written(namespace: &Namespace, row: &Row, mode: Mode) -> String {
    let object = || match &row.fragment {
        Some(fragment) => object::fragment(namespace, fragment),
        None => object::row(namespace, row.class, &row.instance),
    };
    let reference = || {
        let path = object::path_of(row.class, &row.instance);
        format!(
            "<a:EndpointReference>{}</a:EndpointReference>",
            object::endpoint(&path)
        )
    };
    match mode {
        Mode::Objects => object(),
        Mode::References => reference(),
        Mode::Both => format!("<w:Item>{}{}</w:Item>", object(), reference()),
    }
}

/// The context of a Pull or Release.
fn context<'a>(request: &'a Request, name: &str) -> Result<(String, &'a Element), Fault> {
    let body = request.body.as_ref().filter(|body| body.is(ENUMERATION, name));
    let body = body.ok_or_else(|| Fault::new(Kind::SchemaValidation, format!("the body holds no {name}")))?;
    let id = body.child(ENUMERATION, "EnumerationContext");
    let id = id.ok_or_else(|| Fault::new(Kind::SchemaValidation, format!("{name} without a context")))?;
    Ok((id.text.trim().to_owned(), body))
}

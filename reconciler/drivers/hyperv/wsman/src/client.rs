//! What can be asked of a service, over whatever carries a request there and an answer back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use crate::class::CimClass;
use crate::error::Error;
use crate::fault::FaultKind;
use crate::message::{self, Request, Settings};
use crate::names::{Action, ENUMERATION, IDENTITY, MANAGEMENT, Namespace, ResourceUri, TRANSFER, WQL};
use crate::object::Object;
use crate::reference::Reference;
use crate::typed::Value;
use crate::wql::Select;
use crate::xml::{Element, Unwritable, Writer};

/// Carries a request to a service and its answer back.
#[async_trait]
pub trait Carrier: Send + Sync {
    /// Where requests go, as they say it of themselves: `https://hv7:5986/wsman`.
    fn to(&self) -> &str;

    /// One request and its answer, which may be a fault.
    ///
    /// # Errors
    /// [`Error::NotSent`] where the service cannot have seen it, [`Error::Lost`] where it may have.
    async fn carry(&self, envelope: String) -> Result<Answer, Error>;
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, unsealed.
    pub body: Bytes,
}

/// A client of one service.
#[derive(Clone)]
pub struct Client {
    carrier: Arc<dyn Carrier>,
    settings: Settings,
    /// Ids of messages.
    ids: Arc<dyn Fn() -> Uuid + Send + Sync>,
    /// How many enumerations may be given back behind the back of who asked for them.
    releases: Arc<Semaphore>,
}

/// What is not given back goes cold by itself, in minutes; so nothing waits long for it.
const RELEASE: Duration = Duration::from_secs(5);
const RELEASES: usize = 8;

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("to", &self.carrier.to())
            .finish_non_exhaustive()
    }
}

/// What a service says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who made it.
    pub vendor: String,
    /// Its version: `OS: 10.0.20348 SP: 0.0 Stack: 3.0`; to strangers zeros.
    pub version: String,
}

/// What is called for.
#[derive(Clone, Debug)]
pub struct Invoke {
    object: Reference,
    method: String,
    arguments: Vec<(String, Argument)>,
}

#[derive(Clone, Debug)]
enum Argument {
    Text(String),
    Reference(Reference),
}

impl Invoke {
    /// A method of an object; of a service, see [`Reference::service`].
    pub fn of(object: Reference, method: &str) -> Self {
        Self {
            object,
            method: method.to_owned(),
            arguments: Vec::new(),
        }
    }

    /// A scalar or, where it is called again with the same name, one more of an array. An embedded instance is a text,
    /// too: [`CimClass::to_instance`].
    #[must_use]
    pub fn text(mut self, name: &str, text: impl Into<String>) -> Self {
        self.arguments
            .push((name.to_owned(), Argument::Text(text.into())));
        self
    }

    /// A REF.
    #[must_use]
    pub fn reference(mut self, name: &str, to: Reference) -> Self {
        self.arguments.push((name.to_owned(), Argument::Reference(to)));
        self
    }

    fn body(&self) -> Result<String, Unwritable> {
        let input = format!("q:{}_INPUT", self.method);
        let mut writer = Writer::default();
        writer.start(
            &input,
            &format!("xmlns:q=\"{}\"", crate::xml::escaped(&self.object.resource.0)?),
        );
        for (name, argument) in &self.arguments {
            let name = format!("q:{name}");
            match argument {
                Argument::Text(text) => {
                    writer.leaf(&name, "", text)?;
                }
                Argument::Reference(to) => {
                    writer.start(&name, "");
                    to.write(&mut writer)?;
                    writer.end(&name);
                }
            }
        }
        writer.end(&input);
        Ok(writer.finish())
    }
}

/// What is enumerated.
#[derive(Clone, Debug)]
enum Wanted {
    /// All objects of a class.
    Class(ResourceUri),
    /// What a query finds.
    Query(Namespace, String),
}

/// A page of an enumeration.
struct Page {
    rows: Vec<Element>,
    /// Where it goes on; `None` at the end.
    context: Option<String>,
}

/// An enumeration that the service holds open. Nobody may come back for it: whoever asked can give up at any await.
struct Open<'a> {
    client: &'a Client,
    resource: &'a ResourceUri,
    context: Option<String>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(context) = self.context.take() else {
            return;
        };
        let permit = Arc::clone(&self.client.releases).try_acquire_owned();
        if let (Ok(permit), Ok(runtime)) = (permit, tokio::runtime::Handle::try_current()) {
            let (client, resource) = (self.client.clone(), self.resource.clone());
            runtime.spawn(async move {
                client.release(&resource, &context).await;
                drop(permit);
            });
        }
    }
}

impl Client {
    /// A client that is carried so.
    pub fn new(carrier: Arc<dyn Carrier>, settings: Settings) -> Self {
        Self {
            carrier,
            settings,
            ids: Arc::new(|| {
                // Ids need be different, not secret.
                let random =
                    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 0_u8);
                let more =
                    std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1_u8);
                Uuid::from_u64_pair(random, more)
            }),
            releases: Arc::new(Semaphore::new(RELEASES)),
        }
    }

    /// Who is there.
    ///
    /// # Errors
    /// If nobody answers, or no service of WS-Management does.
    pub async fn identify(&self) -> Result<Identity, Error> {
        let body = twice(|| self.exchange(message::identify(), None)).await?;
        let Some(said) = body.child(IDENTITY, "IdentifyResponse") else {
            return Err(Error::Unexpected("no answer to who it is".to_owned()));
        };
        let text = |name| {
            said.child(IDENTITY, name)
                .map_or_else(String::new, |found| found.text.trim().to_owned())
        };
        Ok(Identity {
            vendor: text("ProductVendor"),
            version: text("ProductVersion"),
        })
    }

    /// All objects of a class, with all their properties.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn enumerate(&self, class: &ResourceUri) -> Result<Vec<Object>, Error> {
        let rows = self.rows(&Wanted::Class(class.clone())).await?;
        Ok(rows.iter().map(Object::read).collect())
    }

    /// What a query in WQL finds.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn query(&self, namespace: Namespace, wql: &str) -> Result<Vec<Object>, Error> {
        let rows = self.rows(&Wanted::Query(namespace, wql.to_owned())).await?;
        Ok(rows.iter().map(Object::read).collect())
    }

    /// All objects of a class, with the properties of the struct alone.
    ///
    /// # Errors
    /// If the service refuses or does not answer, or an object is not what the struct says.
    pub async fn all<T: CimClass>(&self) -> Result<Vec<T>, Error> {
        self.those(|select| select).await
    }

    /// The objects of a class that fit, with the properties of the struct alone.
    ///
    /// # Errors
    /// As of [`Client::all`].
    pub async fn those<T: CimClass>(&self, narrow: impl FnOnce(Select) -> Select) -> Result<Vec<T>, Error> {
        let select = narrow(Select::of(T::TABLE.name).columns(&T::columns()));
        let rows = self.query(T::TABLE.namespace, &select.to_string()).await?;
        rows.iter().map(|row| T::read(row).map_err(Error::from)).collect()
    }

    /// An object, by all of its keys.
    ///
    /// # Errors
    /// If the service refuses or does not answer; [`FaultKind::NotFound`] where there is none.
    pub async fn get(&self, object: &Reference) -> Result<Object, Error> {
        let get = || self.ask(Action::Get, &object.resource, Some(object), String::new());
        let body = twice(get).await?;
        only_child(&body).map(Object::read)
    }

    /// Changes an object: a whole one, with its class and properties as they are to be.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn put(&self, object: &Reference, properties: &[(&str, Value)]) -> Result<(), Error> {
        let body = instance(&object.resource, properties)?;
        self.ask(Action::Put, &object.resource, Some(object), body)
            .await
            .map(drop)
    }

    /// Makes an object; its reference comes back.
    ///
    /// # Errors
    /// If the service refuses or does not answer.
    pub async fn create(
        &self,
        class: &ResourceUri,
        properties: &[(&str, Value)],
    ) -> Result<Reference, Error> {
        let body = instance(class, properties)?;
        let body = self.ask(Action::Create, class, None, body).await?;
        let made = body.child(TRANSFER, "ResourceCreated").and_then(Reference::read);
        made.ok_or_else(|| Error::Unexpected("no reference to what was made".to_owned()))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// If the service refuses or does not answer; [`FaultKind::NotFound`] where there is none.
    pub async fn delete(&self, object: &Reference) -> Result<(), Error> {
        self.ask(Action::Delete, &object.resource, Some(object), String::new())
            .await
            .map(drop)
    }

    /// Calls a method; its out parameters come back, `ReturnValue` among them.
    ///
    /// # Errors
    /// If the service refuses or does not answer. What the method returns is no error here.
    pub async fn invoke(&self, call: &Invoke) -> Result<Object, Error> {
        let action = Action::Method(call.method.clone());
        let body = self
            .ask(action, &call.object.resource, Some(&call.object), call.body()?)
            .await?;
        only_child(&body).map(Object::read)
    }

    async fn rows(&self, wanted: &Wanted) -> Result<Vec<Element>, Error> {
        let mut page = self.settings.page.max(1);
        loop {
            match twice(|| self.rows_by(wanted, page)).await {
                // So many rows do not fit into an answer.
                Err(error) if error.fault() == Some(FaultKind::TooLarge) && page > 1 => page /= 2,
                ended => return ended,
            }
        }
    }

    async fn rows_by(&self, wanted: &Wanted, page: u32) -> Result<Vec<Element>, Error> {
        let (resource, body) = opening(wanted, page)?;
        let body = self.ask(Action::Enumerate, &resource, None, body).await?;
        let Page { mut rows, context } = read_page(&body)?;
        let mut open = Open {
            client: self,
            resource: &resource,
            context,
        };
        while let Some(current) = open.context.clone() {
            match self.pull(&resource, &current, page).await {
                Ok(next) => {
                    rows.extend(next.rows);
                    open.context = next.context;
                }
                // Nothing yet; its provider is slow.
                Err(error) if error.fault() == Some(FaultKind::TimedOut) => {}
                Err(error) => {
                    self.release(&resource, &current).await;
                    open.context = None;
                    return Err(error);
                }
            }
        }
        Ok(rows)
    }

    async fn pull(&self, resource: &ResourceUri, context: &str, page: u32) -> Result<Page, Error> {
        let mut pull = Writer::default();
        pull.start("n:Pull", "");
        pull.leaf("n:EnumerationContext", "", context)?;
        pull.leaf("n:MaxElements", "", &page.to_string())?;
        pull.end("n:Pull");
        let body = self.ask(Action::Pull, resource, None, pull.finish()).await?;
        read_page(&body)
    }

    /// What is not read to its end is given back; if that fails it goes by itself.
    async fn release(&self, resource: &ResourceUri, context: &str) {
        let mut release = Writer::default();
        release.start("n:Release", "");
        if release.leaf("n:EnumerationContext", "", context).is_ok() {
            release.end("n:Release");
            let given = self.ask(Action::Release, resource, None, release.finish());
            let _best_effort = timeout(RELEASE, given).await;
        }
    }

    async fn ask(
        &self,
        action: Action,
        resource: &ResourceUri,
        object: Option<&Reference>,
        body: String,
    ) -> Result<Element, Error> {
        let request = Request {
            action,
            resource,
            object,
            body,
        };
        let id = (self.ids)();
        let envelope = request.envelope(self.carrier.to(), id, &self.settings)?;
        self.exchange(envelope, Some(id)).await
    }

    async fn exchange(&self, envelope: String, id: Option<Uuid>) -> Result<Element, Error> {
        let answer = self.carrier.carry(envelope).await?;
        if !matches!(answer.status, 200 | 400 | 500) || answer.body.is_empty() {
            return Err(Error::Status {
                status: answer.status,
                about: match answer.body.len() {
                    0 => "without a body".to_owned(),
                    length => format!("with {length} bytes that are no answer"),
                },
            });
        }
        message::answer(&decoded(&answer.body)?, id)
    }
}

/// Asks for what changes nothing, and once more where the answer was lost.
async fn twice<T, F>(ask: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    match ask().await {
        Err(Error::Lost(_)) => ask().await,
        ended => ended,
    }
}

/// UTF-8, or UTF-16 with its mark.
fn decoded(body: &[u8]) -> Result<String, Error> {
    let utf16 = |pair: fn([u8; 2]) -> u16| {
        let units = body[2..].chunks_exact(2).map(|two| pair([two[0], two[1]]));
        char::decode_utf16(units).collect::<Result<String, _>>().ok()
    };
    let text = match body {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        _ => std::str::from_utf8(body).ok().map(str::to_owned),
    };
    text.ok_or_else(|| Error::Unexpected("an answer that is neither UTF-8 nor UTF-16".to_owned()))
}

fn opening(wanted: &Wanted, page: u32) -> Result<(ResourceUri, String), Unwritable> {
    let mut writer = Writer::default();
    writer.start("n:Enumerate", "").empty("w:OptimizeEnumeration", "");
    writer.leaf("w:MaxElements", "", &page.to_string())?;
    let resource = match wanted {
        Wanted::Class(class) => class.clone(),
        Wanted::Query(namespace, wql) => {
            writer.leaf("w:Filter", &format!("Dialect=\"{WQL}\""), wql)?;
            ResourceUri::all_classes(*namespace)
        }
    };
    writer.end("n:Enumerate");
    Ok((resource, writer.finish()))
}

/// The first page has its items under another name than the others.
fn read_page(body: &Element) -> Result<Page, Error> {
    let response = only_child(body)?;
    let find = |name| {
        let mut found = response.children.iter();
        found.find(|child| child.name == name && (child.is(ENUMERATION, name) || child.is(MANAGEMENT, name)))
    };
    let context = response
        .child(ENUMERATION, "EnumerationContext")
        .map(|context| context.text.clone());
    let ended = find("EndOfSequence").is_some();
    Ok(Page {
        rows: find("Items").map_or_else(Vec::new, |items| items.children.clone()),
        // Beside an end a context is dead.
        context: context.filter(|context| !ended && !context.is_empty()),
    })
}

fn only_child(body: &Element) -> Result<&Element, Error> {
    match &body.children[..] {
        [one] => Ok(one),
        all => Err(Error::Unexpected(format!(
            "{} elements where one was expected",
            all.len()
        ))),
    }
}

/// An object as elements, for Put and Create.
fn instance(resource: &ResourceUri, properties: &[(&str, Value)]) -> Result<String, Unwritable> {
    let class = format!("q:{}", resource.class_name().unwrap_or("Object"));
    let mut writer = Writer::default();
    writer.start(
        &class,
        &format!("xmlns:q=\"{}\"", crate::xml::escaped(&resource.0)?),
    );
    for (name, value) in properties {
        let name = format!("q:{name}");
        match value {
            Value::Null => {}
            Value::One(text) => {
                writer.leaf(&name, "", text)?;
            }
            Value::Array(all) => {
                for text in all {
                    writer.leaf(&name, "", text)?;
                }
            }
        }
    }
    writer.end(&class);
    Ok(writer.finish())
}

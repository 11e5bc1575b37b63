//! GetProviderSchema. The answer is encoded once and from then on only copied: with many resources it is by
//! far the largest message.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::{Request, Response as HttpResponse};
use tonic::{Response, Status};

use super::metadata::capabilities;
use super::{Server, guard};
use crate::diag::Diagnostics;
use crate::proto::tfplugin6::{self as proto, get_provider_schema};
use crate::schema::{Attribute, Kind, Schema};

/// The call's path.
pub(crate) const PATH: &str = "/tfplugin6.Provider/GetProviderSchema";

pub(super) async fn get_provider_schema(
    server: &Server,
    _request: get_provider_schema::Request,
) -> Result<get_provider_schema::Response, Diagnostics> {
    let catalog = server.catalog();
    let resources = catalog
        .resources
        .iter()
        .map(|(name, entry)| (name.clone(), schema(entry.item.schema())));
    let data_sources = catalog
        .data_sources
        .iter()
        .map(|(name, entry)| (name.clone(), schema(entry.item.schema())));
    let ephemeral_resources = catalog
        .ephemeral_resources
        .iter()
        .map(|(name, entry)| (name.clone(), schema(entry.item.schema())));
    Ok(get_provider_schema::Response {
        provider: Some(schema(server.provider().schema())),
        resource_schemas: resources.collect(),
        data_source_schemas: data_sources.collect(),
        ephemeral_resource_schemas: ephemeral_resources.collect(),
        server_capabilities: Some(capabilities()),
        ..get_provider_schema::Response::default()
    })
}

fn schema(schema: &Schema) -> proto::Schema {
    let block = proto::schema::Block {
        version: schema.version,
        attributes: attributes(&schema.attributes),
        description: schema.description.clone(),
        description_kind: proto::StringKind::Markdown.into(),
        ..proto::schema::Block::default()
    };
    proto::Schema {
        version: schema.version,
        block: Some(block),
    }
}

fn attributes(attributes: &[Attribute]) -> Vec<proto::schema::Attribute> {
    attributes.iter().map(attribute).collect()
}

fn attribute(attribute: &Attribute) -> proto::schema::Attribute {
    let (ty, nested_type) = match &attribute.kind {
        Kind::Plain(ty) => (ty.to_json().into(), None),
        nested => (Bytes::new(), nested_object(nested)),
    };
    proto::schema::Attribute {
        name: attribute.name.clone(),
        r#type: ty,
        nested_type,
        description: description(attribute),
        description_kind: proto::StringKind::Markdown.into(),
        required: attribute.presence.is_required(),
        optional: attribute.presence.is_optional(),
        computed: attribute.presence.is_computed(),
        sensitive: attribute.sensitive,
        deprecated: attribute.deprecated.is_some(),
        write_only: attribute.write_only,
    }
}

/// The wire knows only that something is deprecated; the way out goes where the reader sees it.
fn description(attribute: &Attribute) -> String {
    match &attribute.deprecated {
        Some(way_out) => format!("{} Deprecated: {way_out}", attribute.description)
            .trim_start()
            .to_owned(),
        None => attribute.description.clone(),
    }
}

fn nested_object(kind: &Kind) -> Option<proto::schema::Object> {
    use proto::schema::object::NestingMode;
    let (nesting, nested) = match kind {
        Kind::Plain(_) => return None,
        Kind::Single(nested) => (NestingMode::Single, nested),
        Kind::List(nested) => (NestingMode::List, nested),
        Kind::Set(nested) => (NestingMode::Set, nested),
        Kind::Map(nested) => (NestingMode::Map, nested),
    };
    Some(proto::schema::Object {
        attributes: attributes(nested),
        nesting: nesting.into(),
    })
}

/// Answers the call with bytes made beforehand.
#[derive(Clone)]
pub(crate) struct EncodedSchema {
    server: Arc<Server>,
    bytes: Arc<OnceLock<Bytes>>,
}

impl EncodedSchema {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            bytes: Arc::default(),
        }
    }

    /// Answers one request.
    pub(crate) async fn call<B>(
        self,
        request: Request<B>,
    ) -> Result<HttpResponse<tonic::body::Body>, Infallible>
    where
        B: tonic::codegen::Body + Send + 'static,
        B::Error: Into<tonic::codegen::StdError> + Send,
    {
        Ok(tonic::server::Grpc::new(Verbatim).unary(self, request).await)
    }

    async fn answer(self) -> Result<Response<Bytes>, Status> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(Response::new(bytes.clone()));
        }
        let work = get_provider_schema(&self.server, get_provider_schema::Request {});
        let response = guard::answer("get_provider_schema", work).await?.into_inner();
        let bytes = Bytes::from(response.encode_to_vec());
        if response.diagnostics.is_empty() {
            let _ = self.bytes.set(bytes.clone());
        }
        Ok(Response::new(bytes))
    }
}

impl tonic::server::UnaryService<()> for EncodedSchema {
    type Response = Bytes;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, _request: tonic::Request<()>) -> Self::Future {
        Box::pin(self.clone().answer())
    }
}

/// Sends bytes as they are; the request has no fields and is not read.
struct Verbatim;

impl Codec for Verbatim {
    type Encode = Bytes;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Verbatim {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Verbatim {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        source.advance(source.remaining());
        Ok(Some(()))
    }
}

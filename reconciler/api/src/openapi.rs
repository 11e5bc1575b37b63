//! The description of the API, OpenAPI 3.1, generated from the table of routes and the types.
//!
//! ```
//! let document = labyard_api::openapi::document("0.1.0");
//! assert_eq!(document["paths"]["/v1/claims"]["post"]["operationId"], "redeem");
//! ```

use crate::{
    host::SEEN_WITHIN_MS,
    problem::{self, Problem},
    routes::{Access, Answer, Body, Op, Parameter, Place, Route, Tagged, routes},
};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The document; `version` is that of the program.
#[must_use]
pub fn document(version: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let _ = generator.subschema_for::<Problem>();
    let mut paths = Map::new();
    for route in routes() {
        let of_path = paths.entry(route.path).or_insert_with(|| json!({}));
        of_path[route.method.word().to_lowercase()] = operation(route, &mut generator);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "labyard",
            "version": version,
            "description": "Machines for labs, classes and test rigs. Every answer that is not what was asked for is \
                            `application/problem+json`; its `retryable` says whether the same request may succeed later.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token, made by `labyard token create`."},
                "claim": {"type": "http", "scheme": "bearer", "description": "The secret of the claim."},
            },
        },
    })
}

/// What every request about a host may say.
const SEEN_WITHIN: Parameter = Parameter {
    name: SEEN_WITHIN_MS,
    place: Place::Header,
    means: "How many milliseconds ago what is told of the host may have been seen; without it, not before the request.",
    schema: r#"{"type": "integer", "minimum": 0}"#,
};

/// What an operation is called: its name in the table with a small first letter.
#[must_use]
pub fn operation_id(op: Op) -> String {
    let name = format!("{op:?}");
    let (first, rest) = name.split_at(1);
    first.to_lowercase() + rest
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for answer in route.answers {
        responses.insert(answer.status.to_string(), response(answer, generator));
    }
    for (range, means) in [
        ("4XX", "It was not done, because of the request."),
        ("5XX", "It was not done, or it is not known whether it was."),
    ] {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let problem = json!({"description": means, "content": {problem::MEDIA_TYPE: {"schema": schema}}});
        responses.insert(range.to_owned(), problem);
    }
    let security = match route.access {
        Access::Everybody => json!([]),
        Access::HolderOr(_) => json!([{"claim": []}, {"token": []}]),
        Access::Redeemer | Access::AtLeast(_) => json!([{"token": []}]),
    };
    let mut operation = json!({
        "operationId": operation_id(route.op),
        "summary": route.summary,
        "description": format!("For: {}", route.access.told()),
        "security": security,
        "responses": responses,
    });
    let of_hosts = route.path.contains("{host}").then_some(&SEEN_WITHIN);
    let parameters: Vec<Value> = route.parameters.iter().chain(of_hosts).map(parameter).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(takes) = route.takes {
        let schema = takes(generator);
        operation["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    if route.op == Op::Upload {
        let schema = json!({"type": "string", "format": "binary"});
        operation["requestBody"] =
            json!({"required": true, "content": {"application/octet-stream": {"schema": schema}}});
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let (place, needed) = match parameter.place {
        Place::Path => ("path", true),
        Place::Query => ("query", false),
        Place::Header => ("header", false),
        Place::NeededHeader => ("header", true),
    };
    let schema: Value = serde_json::from_str(parameter.schema).expect("schemas in the table are JSON");
    json!({
        "name": parameter.name, "in": place, "required": needed, "description": parameter.means, "schema": schema,
    })
}

fn response(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut response = json!({"description": answer.means});
    match answer.body {
        Body::Empty => {}
        Body::Json(schema) => {
            response["content"] = json!({"application/json": {"schema": schema(generator)}});
        }
        Body::Text(media_type) => {
            response["content"] = json!({media_type: {"schema": {"type": "string"}}});
        }
    }
    if answer.tagged == Tagged::Yes {
        let schema = json!({"type": "string"});
        response["headers"] =
            json!({"ETag": {"description": "Which version of the object this is.", "schema": schema}});
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a document refers to stands in it.
    #[test]
    fn every_reference_is_answered() {
        let document = document("0");
        let mut left = vec![&document];
        let mut seen = 0;
        while let Some(value) = left.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        let pointer = reference.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{reference}");
                        seen += 1;
                    }
                    left.extend(fields.values());
                }
                Value::Array(values) => left.extend(values),
                _ => {}
            }
        }
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = document("0");
        let described: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|of_path| of_path.as_object().unwrap().len())
            .sum();
        assert_eq!(described, routes().len());
        for route in routes() {
            let operation = &document["paths"][route.path][route.method.word().to_lowercase()];
            assert_eq!(operation["operationId"], operation_id(route.op));
        }
    }
}

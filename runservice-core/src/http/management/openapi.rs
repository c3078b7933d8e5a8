//! What does the OpenAPI document say? It is made of the table of routes and of the types that they name.

use axum::extract::OriginalUri;
use runyard_executor_core::http::wire::Problem;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::routes::{self, Route};
use crate::http::extract::Json;

pub(super) async fn get(OriginalUri(url): OriginalUri) -> Json<Value> {
    // Where the host has mounted the API.
    let server = url.path().strip_suffix("/openapi.json").filter(|server| !server.is_empty()).unwrap_or("/");
    Json(document(server))
}

/// The document of an API below `server`.
pub(in crate::http) fn document(server: &str) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes::all() {
        let operation = operation(&route, &mut generator);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    generator.subschema_for::<Problem>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Runyard run service",
            "description": "Runs, tasks, logs, events and executors. Whatever fails is answered with a problem \
                (RFC 9457), whose `code` never changes its meaning.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": server }],
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = path_parameters(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters
        .extend(route.query.into_iter().flat_map(|query| query_parameters(query(generator).to_value(), generator)));
    let mut answer = json!({ "description": if route.answer.is_some() { "Done." } else { "Done; no content." } });
    if let Some((media, schema)) = route.answer {
        answer["content"] = json!({ media: { "schema": schema(generator) } });
    }
    let problem = json!({
        "description": "It failed.",
        "content": { "application/problem+json": { "schema": generator.subschema_for::<Problem>() } },
    });
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "parameters": parameters,
        "responses": { route.status.to_string(): answer, "default": problem },
    });
    if let Some((media, schema)) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": { media: { "schema": schema(generator) } } });
    }
    operation
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

/// The fields of a query, one parameter each.
fn query_parameters(schema: Value, generator: &SchemaGenerator) -> Vec<Value> {
    let name = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default();
    let Some(schema) = generator.definitions().get(name) else { return Vec::new() };
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| {
            let mut field = field.clone();
            let description = field.as_object_mut().and_then(|field| field.remove("description"));
            json!({
                "name": name,
                "in": "query",
                "required": required(name),
                "description": description.unwrap_or_default(),
                "schema": field,
            })
        })
        .collect()
}

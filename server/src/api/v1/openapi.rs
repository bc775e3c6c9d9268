//! `/openapi.json`: the interface as it is. A test holds it against the routes and the answers.

use axum::Json;
use serde_json::{Map, Value, json};

/// An operation.
struct Operation {
    method: &'static str,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    /// The least role that may do it.
    role: &'static str,
    /// The names of its parameters behind the `?`.
    query: &'static [&'static str],
    /// The schema of its body.
    body: Option<&'static str>,
    /// How it answers when it was done, and the schema of that; none of 204.
    done: (u16, Option<&'static str>),
    /// The codes of its problems beside those that all have.
    problems: &'static [u16],
    /// Whether it names the version that it changes.
    is_versioned: bool,
}

macro_rules! operations {
    ($($method:ident $path:literal $id:ident $role:ident $summary:literal
        [$($query:literal)*] $(body $body:ident)? => $code:literal $($schema:ident)?
        [$($problem:literal)*] $($versioned:ident)?;)*) => {
        const OPERATIONS: &[Operation] = &[$(Operation {
            method: stringify!($method),
            path: $path,
            id: stringify!($id),
            summary: $summary,
            role: stringify!($role),
            query: &[$($query),*],
            body: first(&[$(stringify!($body))?]),
            done: ($code, first(&[$(stringify!($schema))?])),
            problems: &[$($problem),*],
            is_versioned: first(&[$(stringify!($versioned))?]).is_some(),
        }),*];
    };
}

const fn first(of: &[&'static str]) -> Option<&'static str> {
    match of {
        [one, ..] => Some(one),
        [] => None,
    }
}

operations! {
    get "/audit" listAudit admin "Who changed what, the latest first."
        ["limit" "afterId"] => 200 AuditPage [400];
    get "/connectors" listConnectors viewer "What talks to the outside, and how it is."
        ["limit" "after" "status" "kind" "removed"] => 200 ConnectorPage [400];
    post "/connectors" addConnector editor "Adds a connector for definitions that match its name."
        [] body NewConnector => 201 Connector [400 409 413 415 422];
    get "/connectors/{connector}" getConnector viewer "A connector."
        [] => 200 Connector [404];
    patch "/connectors/{connector}" changeConnector editor "Changes the labels of a connector."
        [] body ConnectorChange => 200 Connector [400 404 409 412 413 415 422 428] versioned;
    delete "/connectors/{connector}" removeConnector editor
        "Removes a connector that no document has, with its cursors and history."
        [] => 204 [404 409 412 428] versioned;
    get "/connectors/{connector}/cursor" getCursor viewer "How far a connector has come."
        [] => 200 CursorPage [404];
    put "/connectors/{connector}/cursor" setCursor editor
        "Sets how far a connector has come: it is read before its next poll."
        [] body NewCursor => 204 [400 404 413 415 422];
    delete "/connectors/{connector}/cursor" resetCursor editor
        "Forgets how far a connector has come: it begins as at its first run."
        ["partition"] => 204 [400 404];
    post "/connectors/{connector}/disable" disableConnector editor
        "Switches a connector that is polled off." [] => 200 Connector [404 409 412 428] versioned;
    post "/connectors/{connector}/enable" enableConnector editor
        "Switches a connector that is polled on." [] => 200 Connector [404 409 412 428] versioned;
    get "/connectors/{connector}/exchanges" listExchanges analyst
        "The last requests of a connector that polls, and their answers, without secrets."
        [] => 200 ExchangePage [404 409];
    get "/connectors/{connector}/history" listHistory viewer
        "The changes of a connector's status, the latest first."
        ["limit" "afterId"] => 200 ChangePage [400 404];
    post "/connectors/{connector}/poll" pollConnector analyst
        "Asks a connector to poll now." [] => 202 Asked [404 409];
    put "/connectors/{connector}/recording" recordConnector editor
        "Writes every exchange from now on to a folder of the instance, without secrets."
        ["seconds"] => 200 Recording [404 409];
    delete "/connectors/{connector}/recording" stopRecording editor
        "Writes exchanges no longer, and says what was written." [] => 200 Recorded [404 409];
    post "/connectors/{connector}/test" testConnector analyst
        "Makes one real call, and says what it saw." [] => 200 Probe [404 409];
    get "/credentials" listCredentials viewer "Credentials, without their values."
        ["limit" "after"] => 200 CredentialPage [400];
    post "/credentials" addCredential editor "Adds a credential."
        [] body NewCredential => 201 Credential [400 409 412 413 415 422];
    get "/credentials/{credential}" getCredential viewer "A credential, without its value."
        [] => 200 Credential [404];
    delete "/credentials/{credential}" revokeCredential editor
        "Takes a credential out of use for good." [] => 204 [404];
    post "/credentials/{credential}/refresh" refreshCredential analyst
        "Has a credential read anew by who uses it." [] => 204 [404];
    post "/credentials/{credential}/rotate" rotateCredential editor
        "Replaces a value: the new one is tried, and the old one kept for a while."
        [] body NewValue => 200 RotatedCredential [400 404 409 412 413 415 422];
    post "/credentials/{credential}/test" testCredential analyst
        "Tries every connector that uses a credential." [] => 200 ProbePage [404];
    get "/credentials/{credential}/uses" listUses viewer
        "The connectors whose settings name a credential." [] => 200 UsePage [404];
    put "/credentials/{credential}/value" setCredential editor "Sets the value of a credential."
        [] body NewValue => 200 Credential [400 404 412 413 415 422];
    get "/openapi.json" getDocument viewer "This document." [] => 200 Document [];
    get "/tokens" listTokens admin "The tokens of the API, without themselves."
        ["limit" "after"] => 200 TokenPage [400];
    post "/tokens" createToken admin "Makes a token, and shows it once."
        [] body NewToken => 201 CreatedToken [400 409 413 415 422];
    delete "/tokens/{token}" revokeToken admin "Takes a token out of use for good."
        [] => 204 [404];
}

/// Answers with the document.
pub async fn document() -> Json<Value> {
    Json(describe())
}

fn describe() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe_operation(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Azud", "version": env!("CARGO_PKG_VERSION"),
            "description": "What programs look at and change of an instance.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "A token that `azud tokens create` made. Without one, whoever is \
                                    on the machine itself may look.",
                },
            },
        },
    })
}

fn describe_operation(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if let Some(name) = operation.path.split(['{', '}']).nth(1) {
        parameters.push(json!({
            "name": name, "in": "path", "required": true,
            "description": "Its name, percent-encoded, or its id.",
            "schema": { "type": "string", "minLength": 1 },
        }));
    }
    parameters.extend(operation.query.iter().map(|name| query(name)));
    if operation.is_versioned {
        parameters.push(json!({
            "name": "If-Match", "in": "header", "required": false,
            "description": "The `ETag` of what was read; without it the answer is 428.",
            "schema": { "type": "string" },
        }));
    }
    if operation.method == "post" {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same request under the same key is done once.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        }));
    }
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "description": format!("Needs the role `{}`, or one that may more.", operation.role),
        "parameters": parameters,
        "responses": responses(operation),
    });
    described["security"] = match operation.role {
        "viewer" => json!([{}, { "token": [] }]),
        _ => json!([{ "token": [] }]),
    };
    if let Some(body) = operation.body {
        described["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(body) } },
        });
    }
    described
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

fn query(name: &str) -> Value {
    let (name, schema, what) = match name {
        "limit" => {
            ("limit", json!({ "type": "integer", "minimum": 1, "maximum": 1000 }), "How many.")
        }
        "after" => ("after", json!({ "type": "string" }), "The `next` of the page before."),
        "afterId" => (
            "after",
            json!({ "type": "integer", "format": "int64" }),
            "The `next` of the page before.",
        ),
        "seconds" => (
            "seconds",
            json!({ "type": "integer", "minimum": 1, "maximum": 3600 }),
            "For so long at most; an hour when nobody says.",
        ),
        "removed" => {
            ("removed", json!({ "type": "boolean" }), "Also those that no document has any more.")
        }
        "status" => ("status", json!({ "enum": STATUSES }), "With this status."),
        "kind" => ("kind", json!({ "enum": KINDS }), "Of this sort."),
        name => (name, json!({ "type": "string" }), "This one alone."),
    };
    json!({ "name": name, "in": "query", "required": false, "description": what, "schema": schema })
}

const STATUSES: [&str; 5] = ["starting", "active", "warning", "error", "disabled"];
const KINDS: [&str; 6] = ["api", "syslog", "listener", "agent", "feed", "sink"];
const CREDENTIALS: [&str; 7] =
    ["token", "basic", "oauth2_client", "private_key", "certificate", "url", "opaque"];
const ROLES: [&str; 4] = ["viewer", "analyst", "editor", "admin"];

fn responses(operation: &Operation) -> Value {
    let (code, schema) = operation.done;
    let mut done = json!({ "description": "It was done." });
    if let Some(schema) = schema {
        done["content"] = json!({ "application/json": { "schema": reference(schema) } });
    }
    let mut responses = Map::from_iter([(code.to_string(), done)]);
    let mut problems: Vec<u16> = vec![400, 401, 403, 500, 503];
    problems.extend(operation.problems);
    if operation.method == "post" {
        problems.extend([409, 413]);
    }
    for code in problems {
        let problem = json!({
            "description": "It was refused.",
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        });
        responses.insert(code.to_string(), problem);
    }
    Value::Object(responses)
}

/// A text without controls.
const LINE: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// Makes the schema of an object with these properties, all of them required.
fn object(properties: Value) -> Value {
    let names: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

/// As [`object`], of what somebody sends: some may be left out, and nothing else stands in it.
fn sent(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object", "required": required, "properties": properties,
        "additionalProperties": false,
    })
}

fn page(of: &str) -> Value {
    object(json!({
        "items": { "type": "array", "items": reference(of) },
        "next": { "type": ["string", "null"] },
    }))
}

fn schemas() -> Value {
    let mut schemas = answers();
    for (name, schema) in bodies() {
        schemas[name] = schema;
    }
    for (name, of) in [
        ("AuditPage", "Deed"),
        ("ChangePage", "Change"),
        ("ConnectorPage", "Connector"),
        ("CredentialPage", "Credential"),
        ("CursorPage", "Cursor"),
        ("ExchangePage", "Exchange"),
        ("ProbePage", "UsedProbe"),
        ("TokenPage", "Token"),
        ("UsePage", "Use"),
    ] {
        schemas[name] = page(of);
    }
    schemas
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

fn maybe_time() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn bodies() -> [(&'static str, Value); 6] {
    let name = json!({ "type": "string", "pattern": "^[A-Za-z0-9_./-]{1,128}$" });
    // RFC 3339, within the years that our times have.
    let when = json!({ "type": ["string", "null"], "format": "date-time" });
    let value = json!({ "type": "string", "minLength": 1, "maxLength": 65536, "writeOnly": true });
    let text = json!({ "type": "string", "maxLength": 256, "pattern": LINE });
    let labels = json!({
        "type": "object", "maxProperties": 32, "additionalProperties": text,
        "propertyNames": { "minLength": 1, "maxLength": 256, "pattern": LINE },
    });
    let cursor = json!({ "type": "string", "minLength": 1, "maxLength": 16384 });
    let number = json!({ "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u64 });
    let base64 = json!({ "type": "string", "pattern": "^([A-Za-z0-9+/]{4})*$" });
    let span = json!({ "type": ["string", "null"], "pattern": "^[0-9]{1,4}(ms|s|m|h|d)$" });
    let kinds: Vec<_> = CREDENTIALS.into_iter().map(Some).chain([None]).collect();
    [
        ("ConnectorChange", sent(json!({ "labels": labels }), &["labels"])),
        (
            "NewConnector",
            sent(
                json!({
                    "name": name, "type": { "enum": ["http_client"] }, "labels": labels,
                    "enabled": { "type": "boolean" },
                }),
                &["name", "type"],
            ),
        ),
        (
            "NewCredential",
            sent(
                json!({
                    "name": name, "kind": { "enum": CREDENTIALS }, "value": value,
                    "expires_at": when,
                }),
                &["name", "value"],
            ),
        ),
        (
            "NewCursor",
            json!({ "oneOf": [
                sent(
                    json!({
                        "partition": text, "state": base64, "format": number, "summary": text,
                        "event_time": when,
                    }),
                    &["state", "format", "summary"],
                ),
                sent(json!({ "partition": text, "cursor": cursor }), &["cursor"]),
            ] }),
        ),
        (
            "NewToken",
            sent(
                json!({ "name": name, "role": { "enum": ROLES }, "expires_at": when }),
                &["name", "role"],
            ),
        ),
        (
            "NewValue",
            sent(
                json!({
                    "value": value, "kind": { "enum": kinds }, "expires_at": when,
                    "overlap": span, "untested": { "type": ["boolean", "null"] },
                }),
                &["value"],
            ),
        ),
    ]
}

fn answers() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let (maybe_text, maybe_number) =
        (json!({ "type": ["string", "null"] }), json!({ "type": ["integer", "null"] }));
    let steps = json!({ "type": "array", "items": reference("Step") });
    let truth = json!({ "type": "boolean" });
    json!({
        "Asked": object(json!({ "asked": truth })),
        "Change": object(json!({
            "id": number, "at": time(), "from_status": { "enum": STATUSES },
            "to_status": { "enum": STATUSES }, "reason": text, "message": maybe_text,
            "http_status": maybe_number, "instance_id": text, "flaps": number,
        })),
        "Connector": connector(),
        "CreatedToken": token(Some(("token", text.clone()))),
        "Credential": credential(&[]),
        "Cursor": object(json!({
            "partition": text, "summary": text, "event_time": maybe_time(), "format": number,
            "updated_at": time(),
        })),
        "Deed": object(json!({
            "id": number, "at": time(), "actor": text, "address": maybe_text, "action": text,
            "object": text, "before": {}, "after": {}, "outcome": text,
        })),
        "Document": { "type": "object" },
        "Exchange": object(json!({
            "at": time(), "took_ms": number, "request": { "type": "object" },
            "response": { "type": "object" },
        })),
        "Probe": object(json!({ "passed": truth, "steps": steps })),
        "Problem": {
            "type": "object", "required": ["type", "title", "status"],
            "properties": { "type": text, "title": text, "status": number, "detail": text },
        },
        "Recorded": object(json!({
            "folder": text, "exchanges": number, "bytes": number,
            "ended": { "enum": ["time", "exchanges", "bytes", "failed", null] },
            "why": maybe_text,
        })),
        "Recording": object(json!({ "folder": text })),
        "RotatedCredential": credential(&["tried", "untried"]),
        "Step": object(json!({
            "name": text, "message": text, "failed": maybe_text, "http_status": maybe_number,
        })),
        "Token": token(None),
        "Use": object(json!({ "connector": text })),
        "UsedProbe": object(json!({ "connector": text, "passed": truth, "steps": steps })),
    })
}

/// Makes the schema of a credential, with lists of names of connectors.
fn credential(lists: &[&str]) -> Value {
    let (text, maybe_text) = (json!({ "type": "string" }), json!({ "type": ["string", "null"] }));
    let mut properties = json!({
        "id": text, "name": text, "kind": { "enum": CREDENTIALS }, "backend": text,
        "reference": maybe_text, "previous_until": maybe_time(),
        "version": { "type": "integer" }, "fingerprint": text, "state": text,
        "expires_at": maybe_time(), "last_used_at": maybe_time(),
        "last_refreshed_at": maybe_time(), "last_error": maybe_text, "created_by": text,
        "created_at": time(), "updated_at": time(), "rotated_at": maybe_time(),
    });
    for list in lists {
        properties[*list] = json!({ "type": "array", "items": text });
    }
    object(properties)
}

fn connector() -> Value {
    let (text, number) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let (maybe_text, maybe_number) =
        (json!({ "type": ["string", "null"] }), json!({ "type": ["integer", "null"] }));
    object(json!({
        "id": text, "name": text, "kind": { "enum": KINDS }, "type": text,
        "origin": { "enum": ["file", "api"] }, "origin_path": maybe_text,
        "labels": { "type": "object", "additionalProperties": text },
        "enabled": { "type": "boolean" }, "summary": { "type": "object" }, "version": number,
        "interval_seconds": maybe_number, "status": { "enum": STATUSES },
        "status_reason": maybe_text, "status_message": maybe_text, "status_since": time(),
        "last_successful_connection": maybe_time(), "last_attempt_at": maybe_time(),
        "next_attempt_at": maybe_time(), "last_error": maybe_text,
        "last_error_at": maybe_time(), "consecutive_failures": number,
        "records_total": number, "bytes_total": number, "attempts_total": number,
        "failures_total": number, "owner_instance": maybe_text, "lease_until": maybe_time(),
        "created_at": time(), "updated_at": time(), "removed_at": maybe_time(),
    }))
}

fn token(with: Option<(&str, Value)>) -> Value {
    let text = json!({ "type": "string" });
    let mut properties = json!({
        "id": text, "name": text, "role": { "enum": ROLES }, "created_at": time(),
        "expires_at": maybe_time(), "last_used_at": maybe_time(), "revoked_at": maybe_time(),
    });
    if let Some((name, schema)) = with {
        properties[name] = schema;
    }
    object(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = describe().to_string();
        let schemas = schemas();
        for name in schemas.as_object().unwrap().keys() {
            assert!(document.contains(&format!("#/components/schemas/{name}\"")), "{name}");
        }
        for part in document.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(schemas.get(name).is_some(), "{name}");
        }
    }
}

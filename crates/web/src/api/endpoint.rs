//! What an endpoint is: its route, who may call it, and how it is described. The router, `openapi.json`, `/docs`
//! and the matrix of the tests are all made of the same list, so none can leave one out.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodRouter, on};
use http::Method;
use serde_json::{Map, Value, json};

use super::Api;

/// One endpoint of the Payment API.
pub(super) struct Endpoint {
    pub(super) method: Method,
    /// Below each prefix for those with a token; as it is for the others.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) repeat: Repeat,
    pub(super) operation: Operation,
    pub(super) handler: MethodRouter<Arc<Api>>,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Who proves to be an API client with the request itself.
    ClientSecret,
    /// Who holds an access token with the scope `globalpci`.
    Token,
}

/// What happens when a request comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is done again: it changes nothing.
    Harmless,
    /// With an `Idempotency-Key` it is done once.
    OncePerKey,
}

/// The description of an endpoint, as OpenAPI has it.
pub(super) struct Operation {
    id: &'static str,
    summary: &'static str,
    parameters: Vec<Value>,
    request: Option<Value>,
    replies: Map<String, Value>,
}

impl Endpoint {
    /// An endpoint that needs a token and changes nothing.
    pub(super) fn get<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self {
            method: Method::GET,
            path,
            access: Access::Token,
            repeat: Repeat::Harmless,
            operation,
            handler: axum::routing::get(handler),
        }
    }

    /// An endpoint that needs a token and changes something, once per `Idempotency-Key`.
    pub(super) fn post<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self {
            method: Method::POST,
            path,
            access: Access::Token,
            repeat: Repeat::OncePerKey,
            operation,
            handler: on(axum::routing::MethodFilter::POST, handler),
        }
    }

    /// An endpoint that needs a token and sets something: done again, it does no harm.
    pub(super) fn put<H, T>(path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        Self {
            method: Method::PUT,
            path,
            access: Access::Token,
            repeat: Repeat::Harmless,
            operation,
            handler: axum::routing::put(handler),
        }
    }

    /// The same for other callers, and never kept under a key.
    pub(super) fn open_to(self, access: Access) -> Self {
        Self { access, repeat: Repeat::Harmless, ..self }
    }

    /// The OpenAPI operation, with what follows from the rest.
    pub(super) fn document(&self) -> Value {
        let Operation { id, summary, parameters, request, replies } = &self.operation;
        let mut parameters = parameters.clone();
        let mut replies = replies.clone();
        if self.path.contains("{guid}") {
            parameters.insert(0, json!({"$ref": "#/components/parameters/Guid"}));
        }
        if self.path.contains("{id}") {
            parameters.insert(0, json!({"$ref": "#/components/parameters/WebhookId"}));
        }
        if self.repeat == Repeat::OncePerKey {
            parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
        }
        if self.access == Access::Token {
            for status in ["401", "403", "429", "500", "503"] {
                replies.entry(status).or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
            }
        }
        let mut document = json!({"operationId": id, "summary": summary, "responses": replies});
        let mut put = |name: &str, value: Value| {
            if let Some(members) = document.as_object_mut() {
                members.insert(name.to_owned(), value);
            }
        };
        if !parameters.is_empty() {
            put("parameters", json!(parameters));
        }
        if let Some(request) = request {
            put("requestBody", request.clone());
        }
        match self.access {
            Access::Token => {}
            Access::Public => put("security", json!([])),
            Access::ClientSecret => put("security", json!([{"basic": []}, {}])),
        }
        document
    }
}

impl Operation {
    /// An operation with its id, unique in the document, and one sentence.
    pub(super) fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, parameters: Vec::new(), request: None, replies: Map::new() }
    }

    /// A parameter of the query that need not be there.
    pub(super) fn query(mut self, name: &str, description: &str, schema: &Value) -> Self {
        self.parameters
            .push(json!({"name": name, "in": "query", "description": description, "schema": schema}));
        self
    }

    /// A header that need not be there.
    pub(super) fn header(mut self, name: &str, description: &str, schema: &Value) -> Self {
        self.parameters
            .push(json!({"name": name, "in": "header", "description": description, "schema": schema}));
        self
    }

    /// A JSON body of the schema with this name, and an example of it.
    pub(super) fn body(mut self, schema: &str, example: &Value) -> Self {
        self.request = Some(json!({
            "required": true,
            "content": {"application/json": {"schema": reference(schema), "example": example}},
        }));
        self
    }

    /// A form.
    pub(super) fn form(mut self, schema: &Value, example: &Value) -> Self {
        self.request = Some(json!({
            "required": true,
            "content": {"application/x-www-form-urlencoded": {"schema": schema, "example": example}},
        }));
        self
    }

    /// The JSON reply when all is well.
    pub(super) fn ok(self, description: &str, schema: &str) -> Self {
        self.reply(200, description, "application/json", &reference(schema))
    }

    /// A reply of another kind.
    pub(super) fn reply(
        mut self,
        status: u16,
        description: &str,
        content_type: &str,
        schema: &Value,
    ) -> Self {
        let known = self.replies.entry(status.to_string());
        let reply = known.or_insert_with(|| json!({"description": description, "content": {}}));
        if let Some(content) = reply["content"].as_object_mut() {
            content.insert(content_type.to_owned(), json!({"schema": schema}));
        }
        self
    }

    /// The statuses of refusals besides those that every request with a token can get.
    pub(super) fn refusals(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.replies.insert(status.to_string(), json!({"$ref": "#/components/responses/Problem"}));
        }
        self
    }

    /// The statuses of OAuth's refusals.
    pub(super) fn oauth_errors(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.replies.insert(status.to_string(), json!({"$ref": "#/components/responses/OAuthError"}));
        }
        self
    }
}

/// A reference to the schema with this name.
pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

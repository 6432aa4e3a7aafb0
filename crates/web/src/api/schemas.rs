//! The parts that the OpenAPI document refers to. The schema of a reply stands here beside the others, and the
//! tests hold every reply that they get against it.

use serde_json::{Value, json};

/// What the document calls headers.
pub(super) fn headers() -> Value {
    json!({
        "IdempotentReplayed": {
            "description": "There when this is the first answer again. paymentResultData is never in such an answer.",
            "schema": {"const": "true"},
        },
    })
}

/// Parameters of more than one endpoint.
pub(super) fn parameters() -> Value {
    json!({
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same request with the same key gets the first answer again for 24 hours, and is \
                done once. 409 while the first is under way, 422 with another body or path. Answers 401, 403, 408, \
                413, 415, 429 and 5xx leave the key free. Keys of different clients never meet. Not a card number.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        },
        "Guid": {
            "name": "guid",
            "in": "path",
            "required": true,
            "description": "sessionGuid or callGuid, as the path says.",
            "schema": {"type": "string", "format": "uuid"},
        },
    })
}

/// Refusals.
pub(super) fn responses() -> Value {
    let problem = json!({"$ref": "#/components/schemas/Problem"});
    json!({
        "Problem": {
            "description": "Why not (RFC 9457)",
            "content": {"application/problem+json": {"schema": problem}},
        },
        "OAuthError": {
            "description": "Why not (RFC 6749, 5.2)",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OAuthError"}}},
        },
    })
}

/// Bodies.
pub(super) fn schemas() -> Value {
    let mut schemas = json!({
        "Token": token(),
        "OAuthError": object(&["error"], json!({"error": text(), "error_description": text()})),
        "CreateSession": create_session(),
        "CreateDigitalSession": create_digital_session(),
        "CreatedSession": created_session(),
        "SessionStatus": session_status(),
        "SessionList": object(
            &["sessions", "nextCursor"],
            json!({
                "sessions": list("SessionStatus"),
                "nextCursor": {"type": ["string", "null"], "description": "null on the last page."},
            }),
        ),
        "Attempt": attempt(),
        "OperationRequest": operation_request(),
        "ChargeRequest": charge_request(),
        "Operation": operation(),
        "Event": event(),
        "Events": object(
            &["sessionGuid", "events"],
            json!({"sessionGuid": guid(), "events": list("Event")}),
        ),
        "Problem": problem(),
    });
    // The rest stands beside its endpoints.
    for (name, schema) in
        super::calls::schemas().into_iter().chain(super::webhooks::schemas()).chain(super::links::schemas())
    {
        schemas[name] = schema;
    }
    schemas
}

fn token() -> Value {
    object(
        &["access_token", "expires_in", "token_type"],
        json!({
            "access_token": text(),
            "expires_in": {"enum": [7200, 900], "description": "900 for a browser's token."},
            "token_type": {"const": "Bearer"},
            "refresh_token": {"type": "string", "description": "Only for a browser; good once."},
            "scope": text(),
        }),
    )
}

fn create_session() -> Value {
    object(
        &["paymentData"],
        json!({
            "agentId": {
                "type": ["string", "number", "null"],
                "maxLength": 128,
                "description": "Finds the agent's live call. Needed with a back-end token.",
            },
            "paymentData": {
                "type": "object",
                "required": ["Amount", "Currency"],
                "properties": {
                    "Amount": {"type": ["string", "number"], "examples": ["12.40"]},
                    "Currency": {"type": "string", "examples": ["GBP"]},
                    "MerchantReferenceCode": {"type": "string"},
                },
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                "maxProperties": 64,
            },
            "accountConfigurationId": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": u32::MAX,
                "description": "Picks the configuration; else the account's default.",
            },
            "skipCallTransfer": {
                "type": ["boolean", "null"],
                "default": false,
                "description": "Test aid: no call; keys come from the page's test keypad. Only on configurations \
                    marked as test.",
            },
        }),
    )
}

fn create_digital_session() -> Value {
    object(
        &["paymentData"],
        json!({
            "agentId": {
                "type": ["string", "number", "null"],
                "maxLength": 128,
                "description": "Who creates it; without it, the API client.",
            },
            "paymentData": {
                "type": "object",
                "required": ["Amount", "Currency"],
                "properties": {
                    "Amount": {"type": ["string", "number"], "examples": ["12.40"]},
                    "Currency": {"type": "string", "examples": ["GBP"]},
                    "MerchantReferenceCode": {"type": "string"},
                    "CustomerPhoneNumber": {
                        "type": "string",
                        "description": "E.164, such as +442079460958: the link goes there by text message.",
                    },
                    "Email": {"type": "string", "description": "The link goes there by e-mail."},
                },
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
                "maxProperties": 64,
            },
            "accountConfigurationId": {
                "type": ["integer", "null"],
                "minimum": 0,
                "maximum": u32::MAX,
                "description": "Picks the configuration, which must be for digital sessions; else the account's default.",
            },
        }),
    )
}

fn created_session() -> Value {
    let uri = || json!({"type": "string", "format": "uri"});
    object(
        &[
            "sessionGuid",
            "agentAccessToken",
            "agentRefreshToken",
            "iframeUrl",
            "providerSessionGuid",
            "paymentFormUrl",
        ],
        json!({
            "sessionGuid": guid(),
            "agentAccessToken": text(),
            "agentRefreshToken": text(),
            "iframeUrl": uri(),
            "providerSessionGuid": guid(),
            "paymentFormUrl": uri(),
            "callGuid": guid(),
            "paymentLinkUrl": {
                "type": "string",
                "format": "uri",
                "description": "Of a digital session. Who has it may pay: pass it on to the payer only, and log it nowhere.",
            },
        }),
    )
}

fn session_status() -> Value {
    object(
        &[
            "sessionGuid",
            "providerSessionGuid",
            "callGuid",
            "sessionState",
            "createdOn",
            "lastUpdatedOn",
            "outcome",
            "attempts",
        ],
        json!({
            "sessionGuid": guid(),
            "providerSessionGuid": guid(),
            "callGuid": {"type": ["string", "null"], "format": "uuid"},
            "sessionState": {"enum": SESSION_STATES},
            "createdOn": moment(),
            "lastUpdatedOn": moment(),
            "paymentResultData": {
                "type": "object",
                "additionalProperties": text(),
                "description": "Given out until 15 minutes after the end.",
            },
            "outcome": {"enum": OUTCOMES},
            "attempts": list("Attempt"),
            "channel": {
                "enum": ["keypad", "link"],
                "description": "How the payer gives the card now; only of sessions that have had a payment link.",
            },
            "link": {"$ref": "#/components/schemas/LinkStatus"},
        }),
    )
}

/// Every `sessionState`.
pub(super) const SESSION_STATES: [&str; 7] =
    ["Created", "InProgress", "Processing", "Finished", "Error", "TimeOut", "ExpiredOnProviderSide"];
/// Every `outcome`.
pub(super) const OUTCOMES: [&str; 6] = ["approved", "declined", "review", "cancelled", "unknown", "none"];

fn attempt() -> Value {
    object(
        &["attempt", "state", "amount", "currency", "gateway", "createdOn", "lastUpdatedOn"],
        json!({
            "attempt": {"type": "integer", "minimum": 1},
            "state": {
                "enum": [
                    "processing", "challenged", "notSent", "unknown", "notCharged", "approved", "partial", "review", "pending",
                    "declined", "reversing", "reversed",
                ],
            },
            "amount": text(),
            "currency": text(),
            "gateway": text(),
            "createdOn": moment(),
            "lastUpdatedOn": moment(),
            "gatewayReference": text(),
            "card": {
                "type": "object",
                "properties": {"brand": {"type": ["string", "null"]}, "first6": text(), "last4": text()},
            },
            "checks": {
                "type": "object",
                "properties": {"address": check(), "postcode": check(), "securityCode": check()},
            },
            "storedCard": {
                "type": "object",
                "properties": {"token": text(), "networkTransactionId": {"type": ["string", "null"]}},
            },
            "operations": list("Operation"),
        }),
    )
}

fn check() -> Value {
    json!({"enum": ["match", "noMatch", "notChecked"]})
}

fn operation_request() -> Value {
    object(
        &[],
        json!({
            "amount": {"type": ["string", "number"], "description": "Without it, all that is left."},
            "currency": {"type": "string", "description": "The payment's."},
            "attempt": {
                "type": "integer",
                "minimum": 1,
                "description": "Which attempt, where a payment was split over several.",
            },
        }),
    )
}

fn charge_request() -> Value {
    object(
        &["initiator", "storedCard", "paymentData"],
        json!({
            "initiator": {"enum": ["customer", "merchant"], "description": "Who starts this payment."},
            "storedCard": object(&["token"], json!({
                "token": {"type": "string", "description": "As an earlier attempt gave it in storedCard. Where several accounts share a merchant at the gateway, one that this account got here."},
                "networkTransactionId": {
                    "type": ["string", "null"],
                    "description": "The schemes want the first payment named, where it is known. Without it, what is known here.",
                },
            })),
            "paymentData": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
            "accountConfigurationId": {"type": "integer", "minimum": 0},
            "agentId": {"type": "string", "description": "Without it, the API client."},
        }),
    )
}

fn operation() -> Value {
    object(
        &["operation", "kind", "state", "amount", "currency", "createdOn", "lastUpdatedOn"],
        json!({
            "operation": {"type": "integer", "minimum": 1},
            "kind": {"enum": ["capture", "void", "refund", "reverse"]},
            "state": {"enum": ["processing", "notSent", "unknown", "accepted", "done", "refused", "failed"]},
            "amount": text(),
            "currency": text(),
            "createdOn": moment(),
            "lastUpdatedOn": moment(),
            "gatewayReference": text(),
            "reason": text(),
        }),
    )
}

fn event() -> Value {
    object(
        &["seq", "at", "type"],
        json!({
            "seq": {"type": "integer", "minimum": 1},
            "at": moment(),
            "type": text(),
            "attempt": {"type": "integer"},
            "operation": {"type": "integer"},
            "link": {"type": "integer"},
            "kind": text(),
            "cause": text(),
            "amount": {"type": "object", "properties": {"minor": {"type": "integer"}, "currency": text()}},
            "approved": {"type": "object", "properties": {"minor": {"type": "integer"}, "currency": text()}},
            "charged": {"type": "boolean"},
            "undoing": {"enum": ["asked", "accepted", "failed"]},
            "reference": text(),
            "state": text(),
            "outcome": text(),
        }),
    )
}

fn problem() -> Value {
    object(
        &["type", "title", "status", "detail", "code", "requestId"],
        json!({
            "type": text(),
            "title": text(),
            "status": {"type": "integer"},
            "detail": text(),
            "code": text(),
            "requestId": text(),
            "errors": {
                "type": "array",
                "description": "Every mistake in the body, with its place (RFC 6901).",
                "items": object(&["pointer", "detail"], json!({"pointer": text(), "detail": text()})),
            },
        }),
    )
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties})
}

fn list(of: &str) -> Value {
    json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{of}")}})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn guid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn moment() -> Value {
    json!({"type": "string", "format": "date-time"})
}

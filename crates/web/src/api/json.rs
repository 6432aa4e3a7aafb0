//! Reading a JSON object whose names count without regard to case, each at most once.
//!
//! Values stay as their raw text until somebody asks for them, so that a number keeps its own spelling
//! (`12.40` is not `12.4`) and unknown fields cost nothing.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::read_body;
use crate::error::ApiError;

/// The published limit of a body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Our own requests are two deep. The rest is room for fields that we ignore.
const DEPTH_MAX: usize = 16;
/// More names than any request has.
const NAMES_MAX: usize = 256;

/// A JSON object's members, in order, not yet looked into.
pub(super) struct Object<'a>(Vec<(String, &'a RawValue)>);

/// Reads the body of a JSON request.
pub(super) async fn read_json(headers: &HeaderMap, body: Body) -> Result<bytes::Bytes, ApiError> {
    if !is_json(headers) {
        return Err(ApiError::NotJson);
    }
    let body = read_body(body, BODY_BYTES_MAX).await?;
    if depth(&body) > DEPTH_MAX {
        return Err(malformed("the JSON is nested too deeply"));
    }
    Ok(body)
}

/// A JSON answer.
pub(super) fn json_reply<T: Serialize>(body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        // Our answers are structs of texts and numbers.
        Err(_) => ApiError::Internal.into_response(),
    }
}

impl<'a> Object<'a> {
    /// Parses the whole text as one object.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, ApiError> {
        let object: Self =
            serde_json::from_slice(text).map_err(|_| malformed("the body is not a JSON object"))?;
        object.unique()
    }

    /// The members of the object `name`.
    pub(super) fn object(&self, name: &'static str) -> Result<Option<Object<'a>>, ApiError> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        let object: Object<'a> =
            serde_json::from_str(raw.get()).map_err(|_| wrong_type(name, "an object of strings"))?;
        object.unique().map(Some)
    }

    /// The value of `name`, where a string or a number is allowed.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        match scalar(raw) {
            Some(Scalar::Text(text) | Scalar::Number(text)) => Ok(Some(text)),
            Some(Scalar::Bool(_) | Scalar::Null) | None => Err(wrong_type(name, "a string or a number")),
        }
    }

    /// The value of `name`, a whole number of at least 0.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u32>, ApiError> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        let number = raw.get().parse().map_err(|_| wrong_type(name, "a whole number of at least 0"))?;
        Ok(Some(number))
    }

    /// The value of `name`, true or false.
    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, ApiError> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        match raw.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(wrong_type(name, "true or false")),
        }
    }

    /// All members as texts; numbers and booleans are taken as their text, null as not given.
    pub(super) fn texts(&self, of: &'static str) -> Result<BTreeMap<String, String>, ApiError> {
        let mut texts = BTreeMap::new();
        for (name, raw) in &self.0 {
            let text = match scalar(raw) {
                Some(Scalar::Text(text) | Scalar::Number(text)) => text,
                Some(Scalar::Bool(value)) => value.to_string(),
                Some(Scalar::Null) => continue,
                None => return Err(wrong_type(of, "an object of strings")),
            };
            texts.insert(name.clone(), text);
        }
        Ok(texts)
    }

    /// Every member that is a string, whatever its name.
    pub(super) fn strings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(_, raw)| match scalar(raw) {
            Some(Scalar::Text(text)) => Some(text),
            Some(Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null) | None => None,
        })
    }

    /// The member of this name in any case, unless it is null.
    fn present(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    /// Two readers of one text must not see two requests: a name that is there twice is refused.
    fn unique(self) -> Result<Self, ApiError> {
        let mut names: Vec<String> = self.0.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(malformed("a name is there twice (names are the same in any case)"));
        }
        Ok(self)
    }
}

enum Scalar {
    Text(String),
    Number(String),
    Bool(bool),
    Null,
}

/// `None` for arrays and objects.
fn scalar(raw: &RawValue) -> Option<Scalar> {
    let text = raw.get();
    match text.bytes().next()? {
        b'"' => serde_json::from_str(text).ok().map(Scalar::Text),
        b't' => Some(Scalar::Bool(true)),
        b'f' => Some(Scalar::Bool(false)),
        b'n' => Some(Scalar::Null),
        b'[' | b'{' => None,
        _ => Some(Scalar::Number(text.to_owned())),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == NAMES_MAX {
                        return Err(serde::de::Error::custom("too many names"));
                    }
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

/// How deep arrays and objects are nested, brackets within strings aside.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (true | false, _) => {}
        }
    }
    deepest
}

/// `application/json` or `application/…+json` (RFC 6839), in UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn malformed(why: &'static str) -> ApiError {
    ApiError::Malformed(why.into())
}

fn wrong_type(name: &'static str, wanted: &'static str) -> ApiError {
    ApiError::Malformed(format!("{name} must be {wanted}").into())
}

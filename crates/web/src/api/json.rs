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
use hushpad_domain::text::holds_card_number;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::read_body;
use crate::error::ApiError;
use crate::mistakes::{Mistake, Mistakes};

/// The published limit of a body.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Our own requests are two deep. The rest is room for fields that we ignore.
const DEPTH_MAX: usize = 16;
/// More names than any request has.
const NAMES_MAX: usize = 256;

const TWICE: &str = "a name is there twice (names are the same in any case)";

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
        Ok(body) => json_text(body),
        // Our answers are structs of texts and numbers.
        Err(_) => ApiError::Internal.into_response(),
    }
}

/// An answer that is JSON already.
pub(super) fn json_text(body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

impl<'a> Object<'a> {
    /// Parses the whole text as one object.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, ApiError> {
        let object: Self =
            serde_json::from_slice(text).map_err(|_| malformed("the body is not a JSON object"))?;
        if object.names_are_unique() { Ok(object) } else { Err(malformed(TWICE)) }
    }

    /// The members of the object `name`.
    pub(super) fn object(&self, name: &'static str) -> Result<Option<Object<'a>>, Mistake> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        let object: Object<'a> =
            serde_json::from_str(raw.get()).map_err(|_| wrong_type(name, "an object of strings"))?;
        match object.names_are_unique() {
            true => Ok(Some(object)),
            false => Err(Mistake::shape(&[name], TWICE)),
        }
    }

    /// The value of `name`, where a string or a number is allowed.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, Mistake> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        match scalar(raw) {
            Some(Scalar::Text(text) | Scalar::Number(text)) => Ok(Some(text)),
            Some(Scalar::Bool(_) | Scalar::Null) | None => Err(wrong_type(name, "a string or a number")),
        }
    }

    /// The value of `name`, a whole number of at least 0.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u32>, Mistake> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        let number = raw.get().parse().map_err(|_| wrong_type(name, "a whole number of at least 0"))?;
        Ok(Some(number))
    }

    /// The value of `name`, true or false.
    pub(super) fn boolean(&self, name: &'static str) -> Result<Option<bool>, Mistake> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        match raw.get() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(wrong_type(name, "true or false")),
        }
    }

    /// All members as texts; numbers and booleans are taken as their text, null as not given. What is neither is
    /// told in `mistakes`.
    pub(super) fn texts(&self, of: &'static str, mistakes: &mut Mistakes) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::new();
        for (name, raw) in &self.0 {
            let text = match scalar(raw) {
                Some(Scalar::Text(text) | Scalar::Number(text)) => text,
                Some(Scalar::Bool(value)) => value.to_string(),
                Some(Scalar::Null) => continue,
                None => {
                    let place = if holds_card_number(name) { vec![of] } else { vec![of, name.as_str()] };
                    mistakes.add(Mistake::shape(&place, format!("{of} must be an object of strings")));
                    continue;
                }
            };
            texts.insert(name.clone(), text);
        }
        texts
    }

    /// The names of members whose text holds a card number, whatever they are for; none where the name itself does.
    pub(super) fn card_numbers(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().filter_map(|(name, raw)| match scalar(raw) {
            _ if holds_card_number(name) => Some(None),
            Some(Scalar::Text(text)) if holds_card_number(&text) => Some(Some(name.as_str())),
            Some(Scalar::Text(_) | Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null) | None => None,
        })
    }

    /// Whether `name` is there as a number.
    pub(super) fn is_number(&self, name: &str) -> bool {
        self.present(name).is_some_and(|raw| matches!(scalar(raw), Some(Scalar::Number(_))))
    }

    /// The member of this name in any case, unless it is null.
    fn present(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    /// Two readers of one text must not see two requests: a name that is there twice is refused.
    fn names_are_unique(&self) -> bool {
        let mut names: Vec<String> = self.0.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
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

/// `application/json` or `application/…+json` (RFC 6839), in UTF-8: a charset, which JSON does not have
/// (RFC 8259, section 11), must at least say so.
fn is_json(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return false };
    let mut parts = value.to_str().unwrap_or("").split(';');
    let essence = parts.next().unwrap_or("").trim().to_ascii_lowercase();
    let utf8 = |parameter: &str| match parameter.trim().split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        Some(_) | None => true,
    };
    let json =
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
    json && parts.all(utf8)
}

fn malformed(why: &'static str) -> ApiError {
    ApiError::Malformed(why.into())
}

fn wrong_type(name: &'static str, wanted: &'static str) -> Mistake {
    Mistake::shape(&[name], format!("{name} must be {wanted}"))
}

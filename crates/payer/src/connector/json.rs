//! Reading a JSON object where it lies, so that a card number in it is never copied into a string.
//!
//! Values stay as their raw text until somebody asks for them; an amount keeps its own spelling.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// More names than any request has, custom parameters and all.
const NAMES_MAX: usize = 128;

/// A JSON object's members, in order, not yet looked into.
pub(super) struct Object<'a>(Vec<(String, &'a RawValue)>);

/// The body, or a member, is no such thing. What is there is never told: it may be a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongShape;

impl<'a> Object<'a> {
    /// Parses the whole text as one object. A name that is there twice is refused: two readers of one text must not
    /// see two payments.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, WrongShape> {
        let object: Self = serde_json::from_slice(text).map_err(|_| WrongShape)?;
        let mut names: Vec<_> = object.0.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        if names.windows(2).all(|pair| pair[0] != pair[1]) { Ok(object) } else { Err(WrongShape) }
    }

    /// The text of a member that is a string or a number, as it was written; `None` where there is none. A string
    /// with an escape in it is no number, date or amount.
    pub(super) fn plain(&self, name: &str) -> Result<Option<&'a [u8]>, WrongShape> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        match raw.get().as_bytes() {
            [b'"', b'"'] => Ok(None),
            [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Ok(Some(text)),
            [b'0'..=b'9', ..] => Ok(Some(raw.get().as_bytes())),
            _ => Err(WrongShape),
        }
    }

    /// The same as text, unescaped; not for card data.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, WrongShape> {
        let Some(raw) = self.present(name) else { return Ok(None) };
        Ok(text_of(raw)?.filter(|text| !text.is_empty()))
    }

    /// The members of an object within.
    pub(super) fn object(&self, name: &str) -> Result<Option<Object<'a>>, WrongShape> {
        self.present(name).map(|raw| Object::parse(raw.get().as_bytes())).transpose()
    }

    /// Every member as text, those that are null left out.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, Result<String, WrongShape>)> {
        self.0.iter().filter_map(|(name, raw)| Some((name.as_str(), text_of(raw).transpose()?)))
    }

    /// Whether there is something of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.present(name).is_some()
    }

    fn present(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }
}

/// A string unescaped, a number or a boolean as it is written; `None` for null.
fn text_of(raw: &RawValue) -> Result<Option<String>, WrongShape> {
    match raw.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw.get()).map(Some).map_err(|_| WrongShape),
        Some(b'[' | b'{') | None => Err(WrongShape),
        Some(b'n') => Ok(None),
        Some(_) => Ok(Some(raw.get().to_owned())),
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
                        return Err(Error::custom("too many names"));
                    }
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        let text =
            br#"{"amount":12.40,"cvv":"123","Note":"a\u0020b","none":null,"empty":"","deep":{"x":true}}"#;
        let object = Object::parse(text).unwrap_or_else(|_| panic!("no object"));
        assert_eq!(object.plain("amount"), Ok(Some(b"12.40".as_slice())));
        assert_eq!(object.plain("CVV"), Ok(Some(b"123".as_slice())));
        assert_eq!(object.plain("note"), Err(WrongShape), "an escape is no digit");
        assert_eq!(object.text("note"), Ok(Some("a b".to_owned())));
        assert_eq!((object.plain("none"), object.plain("empty")), (Ok(None), Ok(None)));
        assert_eq!(object.plain("deep"), Err(WrongShape));
        let deep = object.object("deep").unwrap().unwrap();
        assert_eq!(deep.texts().collect::<Vec<_>>(), [("x", Ok("true".to_owned()))]);
    }

    #[test]
    fn what_two_readers_would_read_differently_is_refused() {
        for text in [r#"{"amount":"1","Amount":"2"}"#, "[]", "1", "", "{", r#"{"a":1}x"#, "{\"a\":\"\u{1}\"}"]
        {
            assert!(Object::parse(text.as_bytes()).is_err(), "{text}");
        }
        let many =
            format!("{{{}}}", (0..=NAMES_MAX).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(","));
        assert!(Object::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn depth_does_no_harm() {
        let deep = format!("{{\"parameters\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
        // Read or refused; the stack is what it is about.
        let _ = Object::parse(deep.as_bytes());
    }
}

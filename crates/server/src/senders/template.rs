//! Texts with places for what is known only when a message is sent. A value is escaped for the format that it goes into,
//! so that a name can end neither a header, nor a JSON text, nor a form's field.

use hushpad_domain::message::Message;

/// A template longer than this is no text message any more.
const TEMPLATE_CHARS_MAX: usize = 1_000;
/// A name or reference is cut here, so that the link behind it fits into ten parts of a text message.
const VALUE_CHARS_MAX: usize = 100;

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(&'static str),
}

/// How a value is written where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As it is, in one line.
    Text,
    /// As it is: whoever writes the form escapes it.
    Form,
    /// Inside the quotes of a JSON string.
    Json,
}

/// The places of a message's text.
pub const MESSAGE_PLACES: [&str; 4] = ["payee", "amount", "link", "reference"];
/// The places of a provider's request: the number with and without its `+`, and the message's text.
pub const REQUEST_PLACES: [&str; 3] = ["to", "to_digits", "text"];

impl Template {
    /// A message's text, such as `"{payee}: pay {amount} at {link}"`. Every brace is a place's.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn message(text: &str) -> Result<Self, String> {
        let template = Self::parse(text, &MESSAGE_PLACES);
        let literal = template.0.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            Part::Place(_) => None,
        });
        if literal.into_iter().any(|text| text.contains(['{', '}'])) {
            return Err(format!("has a place that is none of {}", list(&MESSAGE_PLACES)));
        }
        if !template.has("link") {
            return Err("must hold {link}".to_owned());
        }
        if text.chars().count() > TEMPLATE_CHARS_MAX {
            return Err(format!("must have at most {TEMPLATE_CHARS_MAX} characters"));
        }
        Ok(template)
    }

    /// A mail's subject: as a message's text, but without the link, which mail servers would log.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn subject(text: &str) -> Result<Self, String> {
        if text.contains("{link}") {
            return Err("must not hold {link}: mail servers log subjects".to_owned());
        }
        let template = Self::message(&format!("{text}{{link}}"))?;
        let parts = template.0.into_iter().filter(|part| *part != Part::Place("link"));
        Ok(Self(parts.collect()))
    }

    /// A part of a provider's request. Braces that are no place's are the format's own.
    #[must_use]
    pub fn request(text: &str) -> Self {
        Self::parse(text, &REQUEST_PLACES)
    }

    /// Whether it has this place.
    #[must_use]
    pub fn has(&self, place: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Place(known) if *known == place))
    }

    /// The text with its values.
    pub fn fill<'v>(&self, escape: Escape, value: impl Fn(&str) -> &'v str) -> String {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place(place) => write_value(&mut filled, escape, value(place)),
            }
        }
        filled
    }

    /// A message's text, in one line but for the template's own line breaks.
    #[must_use]
    pub fn told(&self, message: &Message) -> String {
        let amount = message.amount.to_string();
        self.fill(Escape::Text, |place| match place {
            "payee" => cut(&message.payee),
            "amount" => &amount,
            "link" => &message.link,
            "reference" => cut(message.reference.as_deref().unwrap_or_default()),
            _ => "",
        })
    }

    fn parse(text: &str, places: &[&'static str]) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        let next = |rest: &str| {
            let found = places.iter().filter_map(|place| Some((rest.find(&format!("{{{place}}}"))?, *place)));
            found.min_by_key(|(at, _)| *at)
        };
        while let Some((at, place)) = next(rest) {
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            parts.push(Part::Place(place));
            rest = &rest[at + place.len() + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Self(parts)
    }
}

fn list(places: &[&str]) -> String {
    places.iter().map(|place| format!("{{{place}}}")).collect::<Vec<_>>().join(", ")
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(VALUE_CHARS_MAX).map_or(text, |(at, _)| &text[..at])
}

fn write_value(filled: &mut String, escape: Escape, value: &str) {
    match escape {
        Escape::Text => filled.extend(value.chars().map(|each| if each.is_control() { ' ' } else { each })),
        Escape::Form => filled.push_str(value),
        Escape::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            filled.push_str(
                quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default(),
            );
        }
    }
}

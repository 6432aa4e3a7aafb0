//! What a flow says about the names of `paymentData`.

use hushpad_domain::field_map::{DataFormat, FieldMap, FieldRule, OtherNames};
use hushpad_domain::payment_data::{NAME_CHARS_MAX, NAMES_MAX, VALUE_CHARS_MAX};

use super::check::Mistakes;
use super::raw;

/// The rules of a configuration.
pub(super) fn field_map(mistakes: &mut Mistakes, path: &str, raw: &raw::Configuration) -> FieldMap {
    if raw.data.len() > NAMES_MAX {
        mistakes.add(&format!("{path}.data"), format!("must have at most {NAMES_MAX} names"));
    }
    let others = match raw.other_data {
        raw::OtherData::Pass => OtherNames::PassedThrough,
        raw::OtherData::Refuse => OtherNames::Refused,
    };
    let rules = raw.data.iter().enumerate().filter_map(|(n, rule)| {
        let path = format!("{path}.data[{n}]");
        let twice = raw.data[..n].iter().any(|earlier| earlier.name.eq_ignore_ascii_case(&rule.name));
        if rule.name.is_empty() || rule.name.chars().count() > NAME_CHARS_MAX || twice {
            mistakes.add(&format!("{path}.name"), "must be there, be short, and be used once in any case");
        }
        if !(1..=VALUE_CHARS_MAX).contains(&rule.max_chars) {
            mistakes.add(&format!("{path}.max_chars"), format!("must be from 1 to {VALUE_CHARS_MAX}"));
        }
        let format = DataFormat::ALL.iter().find(|(name, _)| *name == rule.format).map(|(_, format)| *format);
        let known = || DataFormat::ALL.map(|(name, _)| name).join(", ");
        let format = mistakes
            .take(&format!("{path}.format"), format.ok_or_else(|| format!("must be one of: {}", known())));
        Some(FieldRule {
            name: rule.name.clone(),
            required: rule.required,
            format: format?,
            chars_max: rule.max_chars,
        })
    });
    FieldMap { rules: rules.collect(), others }
}

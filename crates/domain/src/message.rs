//! How a payment link reaches the payer: by text message or e-mail.

use std::fmt;

use thiserror::Error;

use crate::ids::AccountId;
use crate::money::Money;

/// The longest e-mail address (RFC 5321, section 4.5.3.1, less the angle brackets).
const ADDRESS_BYTES_MAX: usize = 254;
/// Of it, what stands before the `@`.
const LOCAL_BYTES_MAX: usize = 64;

/// Where a payer can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// By text message.
    Phone(PhoneNumber),
    /// By e-mail.
    Email(EmailAddress),
}

/// A telephone number as ITU-T E.164 writes it: `+` and 7 to 15 digits. Nothing prints it whole.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// A number from its text. Spaces, dashes, dots and brackets are for the eye, and are taken out.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number: String =
            text.chars().filter(|each| !matches!(each, ' ' | '-' | '.' | '(' | ')' | '/')).collect();
        let digits = number.strip_prefix('+')?;
        let is_number = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        is_number.then_some(Self(number))
    }

    /// The number, with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("+…")?;
        f.write_str(self.0.get(self.0.len().saturating_sub(2)..).unwrap_or_default())
    }
}

/// An e-mail address in plain ASCII, without a name and without quotes. Nothing prints it whole.
#[derive(Clone, PartialEq, Eq)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// An address from its text; `None` also for rare but lawful ones, such as quoted names: a wrong line in a mail
    /// header costs more than they do.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.rsplit_once('@')?;
        let is_local = (1..=LOCAL_BYTES_MAX).contains(&local.len())
            && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte));
        let is_domain = domain.contains('.') && domain.split('.').all(is_label);
        (text.len() <= ADDRESS_BYTES_MAX && is_local && is_domain).then(|| Self(text.to_owned()))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..1).unwrap_or_default())?;
        f.write_str("…@…")
    }
}

/// `atext` (RFC 5322, section 3.2.3).
fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What a payer is told. How it is worded is the account's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose sender sends it.
    pub account: AccountId,
    /// Who gets the money, as the payer knows them.
    pub payee: String,
    /// How much.
    pub amount: Money,
    /// The payment link. Who knows it may pay.
    pub link: String,
    /// The merchant's reference, if any.
    pub reference: Option<String>,
}

/// It holds a link, so it is not printed.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Why a link was not sent. Sorted by who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendRefused {
    /// The account has no sender for this kind of contact. The caller delivers the link.
    #[error("the account has no sender for this kind of contact")]
    NoSender,
    /// The provider will not send it: a number or address that it does not take. The caller's data.
    #[error("the provider does not send to this contact")]
    Contact,
    /// The provider does not let us send: credentials, credit, a sender's name. The operator's matter.
    #[error("the provider does not let us send")]
    NotAllowed,
    /// The provider could not be reached, or did not answer, however often it was tried. It may have been sent.
    #[error("the provider did not answer")]
    Unreachable,
    /// Too many are on their way.
    #[error("too many messages are on their way")]
    Busy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_e_164_and_is_not_printed() {
        let number = PhoneNumber::parse("+44 (7700) 900-123").expect("a number");
        assert_eq!(number.as_str(), "+447700900123");
        assert_eq!(format!("{number:?}"), "+…23");
        for text in [
            "",
            "+",
            "07700900123",
            "447700900123",
            "+0123456789",
            "+1234",
            "+44770090012345678",
            "+4477x0900123",
            "+44\r\n7700900123",
        ] {
            assert_eq!(PhoneNumber::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_plain_and_is_not_printed() {
        let address = EmailAddress::parse("ann.o'neil+pay@mail.example.com").expect("an address");
        assert_eq!(format!("{address:?}"), "a…@…");
        let long = format!("{}@example.com", "a".repeat(65));
        for text in [
            "",
            "ann",
            "ann@",
            "@example.com",
            "ann@localhost",
            "ann@@example.com",
            "a b@example.com",
            "\"ann\"@example.com",
            "ann@example.com\r\nBcc: eve@example.com",
            "ann@-example.com",
            "ann.@example.com",
            "<ann@example.com>",
            "änn@example.com",
            &long,
        ] {
            assert_eq!(EmailAddress::parse(text), None, "{text}");
        }
    }
}

//! What stands in a payment link: which session, which of its links, and a secret that is derived, never stored.
//!
//! A code is the session's guid on the secure side and the first 96 bits of HMAC-SHA-256 of guid and link number, under
//! a key of its own from the master key (RFC 5869). So the store holds nothing that opens a link, every node knows
//! every link, and a wrong one is told without asking the store.

use hushpad_domain::ids::ProviderSessionGuid;
use hushpad_domain::link::{LINKS_MAX, LinkNo, PaymentLinkUrl};
use hushpad_payer::LinkCode;
use ring::{hkdf, hmac};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use uuid::Uuid;

/// Parts this derivation from any other use of the same master key.
const SALT: &[u8] = b"hushpad payment links v1";
/// Of a code, how much is the guid.
const GUID_BYTES: usize = 16;

/// Makes and opens the codes of payment links. No `Debug`: nothing prints its key.
pub struct LinkCodes {
    key: hmac::Key,
    base_url: String,
}

impl LinkCodes {
    /// Codes under this master key, in links below `base_url` (without a slash at its end).
    #[must_use]
    pub fn new(master: &[u8; 32], base_url: &str) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        let mut key = [0; 32];
        root.expand(&[b"payment link"], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut key))
            .expect("one SHA-256 block is within what HKDF can give");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &key), base_url: base_url.to_owned() }
    }

    /// The address of this link.
    #[must_use]
    pub fn url(&self, session: ProviderSessionGuid, link: LinkNo) -> PaymentLinkUrl {
        PaymentLinkUrl(format!("{}/pay/{}", self.base_url, self.code(session, link).text()))
    }

    /// Which link this code opens; `None` when it is none of ours. Takes as long for every code.
    #[must_use]
    pub fn open(&self, code: &LinkCode) -> Option<(ProviderSessionGuid, LinkNo)> {
        let (guid, secret) = code.bytes().split_at(GUID_BYTES);
        let session = ProviderSessionGuid(Uuid::from_slice(guid).ok()?);
        let mut found = 0_u16;
        for no in 1..=LINKS_MAX {
            let same: Choice = self.code(session, LinkNo(no)).bytes()[GUID_BYTES..].ct_eq(secret);
            found.conditional_assign(&no, same);
        }
        (found > 0).then_some((session, LinkNo(found)))
    }

    fn code(&self, session: ProviderSessionGuid, LinkNo(no): LinkNo) -> LinkCode {
        let guid = session.0.as_bytes();
        let tag = hmac::sign(&self.key, &[guid.as_slice(), &no.to_be_bytes()].concat());
        let mut code = [0; LinkCode::BYTES];
        code[..GUID_BYTES].copy_from_slice(guid);
        code[GUID_BYTES..].copy_from_slice(&tag.as_ref()[..LinkCode::BYTES - GUID_BYTES]);
        LinkCode::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: ProviderSessionGuid = ProviderSessionGuid(Uuid::from_u128(7));

    fn code_of(url: &PaymentLinkUrl) -> LinkCode {
        let text = url.reveal().strip_prefix("https://pay.example/pay/").unwrap();
        LinkCode::from_text(text).unwrap()
    }

    #[test]
    fn a_link_opens_its_own_session_and_number() {
        let codes = LinkCodes::new(&[1; 32], "https://pay.example");
        for no in [1, 2, LINKS_MAX] {
            let code = code_of(&codes.url(SESSION, LinkNo(no)));
            assert_eq!(codes.open(&code), Some((SESSION, LinkNo(no))));
            let restarted = LinkCodes::new(&[1; 32], "https://pay.example");
            assert_eq!(restarted.open(&code), Some((SESSION, LinkNo(no))));
            assert_eq!(LinkCodes::new(&[2; 32], "https://pay.example").open(&code), None);
        }
        assert_eq!(codes.open(&code_of(&codes.url(SESSION, LinkNo(LINKS_MAX + 1)))), None);
    }

    #[test]
    fn no_changed_bit_opens_anything() {
        let codes = LinkCodes::new(&[1; 32], "https://pay.example");
        let code = *code_of(&codes.url(SESSION, LinkNo(1))).bytes();
        for bit in 0..LinkCode::BYTES * 8 {
            let mut changed = code;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(codes.open(&LinkCode::new(changed)), None, "bit {bit}");
        }
    }

    #[test]
    fn an_address_is_not_printed() {
        let url = LinkCodes::new(&[1; 32], "https://pay.example").url(SESSION, LinkNo(1));
        assert!(!format!("{url:?}").contains("pay.example"));
    }
}

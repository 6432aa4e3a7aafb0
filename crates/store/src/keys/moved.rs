//! Sealing anew what stays for longer than its key.

use std::collections::BTreeMap;

use hushpad_domain::ids::AccountId;

use super::Keys;

/// As `PaymentData::reference` has it.
const REFERENCE: &str = "MerchantReferenceCode";

/// Something that was sealed anew.
pub(crate) struct Moved {
    pub(crate) data: Vec<u8>,
    /// What its reference leaves in its session's row, when it is payment data with a reference.
    pub(crate) reference: Option<Vec<u8>>,
}

impl Keys {
    /// Seals it under the current key; `None` when it cannot be read. `account` is there for payment data.
    pub(crate) fn moved(&self, data: &[u8], account: Option<&AccountId>) -> Option<Moved> {
        let plain = self.open_sealed(data)?;
        let reference = account.and_then(|account| {
            let values: BTreeMap<String, String> = serde_json::from_slice(&plain).ok()?;
            let mut named = values.iter().filter(|(name, _)| name.eq_ignore_ascii_case(REFERENCE));
            self.reference_tag(account, named.next()?.1).ok()
        });
        Some(Moved { data: self.seal(plain).ok()?, reference })
    }
}

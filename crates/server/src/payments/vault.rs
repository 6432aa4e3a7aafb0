//! Whose stored cards are. A gateway takes a token from whoever has the merchant's credentials; where several accounts
//! share them, only we can tell whose it is (G8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hushpad_domain::account::Directory;
use hushpad_domain::attempt::StoredCard;
use hushpad_domain::ids::{AccountId, GatewayName};
use hushpad_domain::kept_card::TokenHash;
use hushpad_domain::ports::{KeptCards, NotItsCard};
use hushpad_gateways::GatewayConfig;
use ring::{hkdf, hmac};

/// Parts this derivation from any other use of the same master key.
const SALT: &[u8] = b"hushpad stored cards v1";

/// Makes the hashes that stored cards are known by. No `Debug`: nothing prints its key.
#[derive(Clone)]
pub struct CardHashes(hmac::Key);

impl CardHashes {
    /// Hashes under this master key. With another one no card of before is known.
    #[must_use]
    pub fn new(master: &[u8; 32]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        let mut key = [0; 32];
        root.expand(&[b"stored card token"], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut key))
            .expect("one SHA-256 block is within what HKDF can give");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The hash of a token of this account: another one for every account.
    #[must_use]
    pub fn of(&self, account: &AccountId, token: &str) -> TokenHash {
        let mut context = hmac::Context::with_key(&self.0);
        // With its length, so that no two pairs read as one.
        context.update(&(account.as_str().len() as u64).to_be_bytes());
        context.update(account.as_str().as_bytes());
        context.update(token.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        TokenHash(hash)
    }
}

/// Which gateways keep their cards at the same merchant, and who uses it. Fixed from start to stop.
#[derive(Clone, Debug, Default)]
pub struct Merchants(BTreeMap<GatewayName, Merchant>);

#[derive(Clone, Debug)]
struct Merchant {
    /// Every name by which it is configured.
    gateways: Vec<GatewayName>,
    /// Whether configurations of several accounts use it, under whichever name.
    shared: bool,
}

impl Merchants {
    /// As the configuration has them.
    #[must_use]
    pub fn new(directory: &Directory, gateways: &[GatewayConfig]) -> Self {
        let merchant = |gateway: &GatewayConfig| {
            let same = gateways.iter().filter(|other| other.kind.is_same_merchant(&gateway.kind));
            let names: Vec<GatewayName> = same.map(|other| other.name.clone()).collect();
            let uses = |account: &&hushpad_domain::account::Account| {
                let configurations = account.configurations.iter();
                let mut used =
                    configurations.flat_map(|one| std::iter::once(&one.gateway).chain(&one.fail_over));
                used.any(|name| names.contains(name))
            };
            let users: BTreeSet<_> = directory.accounts().iter().filter(uses).map(|one| &one.id).collect();
            Merchant { shared: users.len() > 1, gateways: names }
        };
        Self(gateways.iter().map(|gateway| (gateway.name.clone(), merchant(gateway))).collect())
    }
}

/// Tells whose a card is.
#[derive(Clone)]
pub struct Vault {
    /// Where it is known.
    pub cards: Arc<dyn KeptCards>,
    /// How it is found.
    pub hashes: CardHashes,
    /// Where it matters.
    pub merchants: Arc<Merchants>,
}

impl Vault {
    /// As [`StoredCards::own`](hushpad_domain::ports::StoredCards::own).
    pub(super) async fn own(
        &self,
        account: &AccountId,
        gateway: &GatewayName,
        card: StoredCard,
    ) -> Result<StoredCard, NotItsCard> {
        // A gateway that nobody has configured is nobody's alone.
        let merchant = self.merchants.0.get(gateway).ok_or(NotItsCard::NotThere)?;
        let hash = self.hashes.of(account, &card.token);
        let known = self.cards.kept_card(account, &merchant.gateways, hash).await?;
        if known.is_none() && merchant.shared {
            return Err(NotItsCard::NotThere);
        }
        let network_transaction_id =
            card.network_transaction_id.or_else(|| known.and_then(|known| known.network_transaction_id));
        Ok(StoredCard { token: card.token, network_transaction_id })
    }
}

#[cfg(test)]
mod tests;

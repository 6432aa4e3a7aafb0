use std::time::Duration;

use async_trait::async_trait;
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Kind, PaymentFlow};
use hushpad_domain::attempt::Purpose;
use hushpad_domain::field_map::FieldMap;
use hushpad_domain::ids::ConfigurationId;
use hushpad_domain::kept_card::KeptCard;
use hushpad_domain::link::LINK_LIFE_MAX;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_gateways::GatewayKind;

use super::*;

fn account(name: &str) -> AccountId {
    AccountId(name.to_owned())
}

fn gateway(name: &str) -> GatewayName {
    GatewayName(name.to_owned())
}

/// One card, of acme at the gateway `shared`.
struct OneCard(TokenHash);

#[async_trait]
impl KeptCards for OneCard {
    async fn kept_card(
        &self,
        account: &AccountId,
        gateways: &[GatewayName],
        token: TokenHash,
    ) -> Result<Option<KeptCard>, StoreUnavailable> {
        let is_it = account.as_str() == "acme" && token == self.0 && gateways.contains(&gateway("shared"));
        Ok(is_it.then(|| KeptCard {
            gateway: gateway("shared"),
            token,
            network_transaction_id: Some("N1".to_owned()),
        }))
    }
}

/// An account with one configuration, at these gateways in order.
fn uses(name: &str, gateways: &[&str]) -> Account {
    let flow = PaymentFlow {
        fields: Vec::new(),
        brands: Vec::new(),
        purpose: Purpose::Sale,
        acceptance: Acceptance::default(),
        keep_card: true,
        data: FieldMap::default(),
        first_key_time_out: Duration::from_secs(60),
        between_keys_time_out: Duration::from_secs(60),
        session_time_out: Duration::from_secs(900),
    };
    let configuration = AccountConfiguration {
        id: ConfigurationId(0),
        kind: Kind::AgentAssist,
        link_life: LINK_LIFE_MAX,
        test: false,
        flow,
        gateway: gateway(gateways[0]),
        fail_over: gateways[1..].iter().map(|name| gateway(name)).collect(),
        allowed_origins: Vec::new(),
        webhook: false,
    };
    Account {
        id: account(name),
        payee: name.to_owned(),
        default_configuration: ConfigurationId(0),
        configurations: vec![configuration.into()],
        agents: Vec::new(),
        any_agent: true,
    }
}

fn at(name: &str, user: &str) -> GatewayConfig {
    let kind = GatewayKind::Generic {
        url: "https://pay.example/charges".to_owned(),
        operations_url: None,
        query_url: None,
        user: user.to_owned(),
        password: "secret".to_owned(),
    };
    GatewayConfig::new(gateway(name), kind)
}

/// acme and globex share a merchant, each by a name of its own; initech's is its own.
fn vault() -> Vault {
    let accounts = Directory::new(vec![
        uses("acme", &["shared"]),
        uses("globex", &["own", "again"]),
        uses("initech", &["alone"]),
    ]);
    let gateways =
        [at("shared", "merchant"), at("again", "merchant"), at("own", "globex"), at("alone", "initech")];
    let hashes = CardHashes::new(&[1; 32]);
    Vault {
        cards: Arc::new(OneCard(hashes.of(&account("acme"), "tok"))),
        hashes,
        merchants: Arc::new(Merchants::new(&accounts, &gateways)),
    }
}

/// The network transaction id with which the card would be charged; `None` when it is not there.
async fn own(of: &str, at: &str, token: &str, network: Option<&str>) -> Option<Option<String>> {
    let network_transaction_id = network.map(str::to_owned);
    let card = StoredCard { token: token.to_owned(), network_transaction_id };
    match vault().own(&account(of), &gateway(at), card).await {
        Ok(card) => {
            assert_eq!(card.token, token);
            Some(card.network_transaction_id)
        }
        Err(NotItsCard::NotThere) => None,
        Err(NotItsCard::Store(error)) => panic!("{error}"),
    }
}

#[tokio::test]
async fn at_a_shared_merchant_only_the_account_that_got_it_has_the_card() {
    assert_eq!(own("acme", "shared", "tok", None).await, Some(Some("N1".to_owned())));
    // By the merchant's other name it is the same card.
    assert_eq!(own("acme", "again", "tok", None).await, Some(Some("N1".to_owned())));
    assert_eq!(own("acme", "shared", "foreign", None).await, None);
    for at in ["shared", "again"] {
        assert_eq!(own("globex", at, "tok", Some("N1")).await, None);
    }
    assert_eq!(own("acme", "unheard of", "tok", None).await, None);
}

#[tokio::test]
async fn at_a_merchant_of_its_own_an_account_may_bring_cards_from_elsewhere() {
    assert_eq!(own("initech", "alone", "foreign", None).await, Some(None));
    assert_eq!(own("globex", "own", "foreign", Some("N7")).await, Some(Some("N7".to_owned())));
}

#[tokio::test]
async fn what_the_caller_says_of_the_first_payment_counts_before_what_is_known() {
    assert_eq!(own("acme", "shared", "tok", Some("N9")).await, Some(Some("N9".to_owned())));
}

#[test]
fn a_hash_is_one_of_account_token_and_key() {
    let hashes = CardHashes::new(&[1; 32]);
    let hash = hashes.of(&account("acme"), "tok");
    assert_eq!(CardHashes::new(&[1; 32]).of(&account("acme"), "tok"), hash, "after a restart too");
    for other in [
        hashes.of(&account("globex"), "tok"),
        hashes.of(&account("acme"), "tak"),
        hashes.of(&account("acmet"), "ok"),
        CardHashes::new(&[2; 32]).of(&account("acme"), "tok"),
    ] {
        assert_ne!(other, hash);
    }
}

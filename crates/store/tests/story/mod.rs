//! Sessions to write and read, for every test of this crate.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{DeclineClass, GatewayAnswer, Purpose, Verdict};
use hushpad_domain::change::Change;
use hushpad_domain::field::Field;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, CallGuid, ConfigurationId, GatewayName, ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::session::{NewSession, Retry, Session};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

const MINUTE: i64 = 60 * 1_000_000;

/// `minutes` after a fixed morning.
pub(crate) fn minute(minutes: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_001 + minutes * MINUTE)
}

pub(crate) fn account(name: &str) -> AccountId {
    AccountId(name.to_owned())
}

/// A new session of `account`, on a call of its own, with this reference in its payment data.
pub(crate) fn opened(account: &str, reference: &str, at: Timestamp) -> Change {
    opened_on(Some(CallGuid(Uuid::new_v4())), account, reference, at)
}

pub(crate) fn opened_on(call: Option<CallGuid>, account: &str, reference: &str, at: Timestamp) -> Change {
    let data = [("Amount", "12.40"), ("Currency", "GBP"), ("MerchantReferenceCode", reference)];
    let data: BTreeMap<String, String> = data.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    Session::open(
        NewSession {
            guid: SessionGuid(Uuid::new_v4()),
            provider: ProviderSessionGuid(Uuid::new_v4()),
            account: AccountId(account.to_owned()),
            configuration: ConfigurationId(0),
            agent: AgentId("agent1234".to_owned()),
            call,
            payment_data: PaymentData::new(data).unwrap(),
            webhook: false,
        },
        at,
    )
}

pub(crate) fn intended(session: Session, at: Timestamp) -> Change {
    session.intend(AttemptId(Uuid::new_v4()), GatewayName("sandbox".to_owned()), Purpose::Sale, at).unwrap()
}

pub(crate) fn approved(session: Session, reference: &str, at: Timestamp) -> Change {
    session.answered(answer(Verdict::Approved, reference), Retry::Possible, at).unwrap()
}

pub(crate) fn declined(session: Session, reference: &str, at: Timestamp) -> Change {
    let verdict = Verdict::Declined { class: DeclineClass::Rekey(Field::SecurityCode) };
    session.answered(answer(verdict, reference), Retry::Possible, at).unwrap()
}

pub(crate) fn answer(verdict: Verdict, reference: &str) -> GatewayAnswer {
    let result = [("decision", "ACCEPT"), ("reasonCode", "100"), ("MerchantReferenceCode", reference)];
    let result = result.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let card = Some(MaskedCard::new(Some(Brand::Visa), 411_111, 1_111));
    GatewayAnswer::new(verdict, "gw-1".to_owned(), result, card)
}

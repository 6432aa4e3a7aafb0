//! What every connector must keep to, whatever its gateway says. Each gives a [`Sheet`] of replies in its
//! gateway's words; the same tests run over all of them.

use std::time::Duration;

use hushpad_domain::attempt::{Attempt, DeclineClass, Purpose, StoredCard, Verdict};
use hushpad_domain::ids::AttemptId;
use hushpad_domain::money::Money;
use proptest::prelude::*;
use uuid::Uuid;

use crate::connector::{BuildError, Connector, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step};
use crate::fixtures::{self, follow_up, reply};
use crate::order::{Channel, Credential, FollowUpKind, Order, Source};
use crate::wire::WireRequest;
use crate::{adyen, cybersource, generic, mpgs, stripe, worldpay};

/// A status and a body.
pub(crate) type Said = (u16, String);

/// One gateway's words for 12.40 GBP of the attempt in [`fixtures`].
pub(crate) struct Sheet {
    pub(crate) name: &'static str,
    pub(crate) connector: Box<dyn Connector>,
    /// The step that takes money.
    pub(crate) pay: Step,
    pub(crate) approved: Said,
    /// 6.20 of it; `None` where the gateway has no such thing.
    pub(crate) partial: Option<Said>,
    pub(crate) declined: Said,
    /// The issuer wants authentication.
    pub(crate) challenge: Said,
    /// The gateway has no answer either.
    pub(crate) time_outs: Vec<Said>,
    /// Approved, but not what was asked for.
    pub(crate) not_ours: Vec<Said>,
    /// What marks a telephone order in the request.
    pub(crate) moto: &'static str,
    /// A currency that is not taken; `None` where all are.
    pub(crate) untaken: Option<&'static str>,
    /// What a kept card is called.
    pub(crate) token: &'static str,
}

pub(crate) fn sheets() -> [Sheet; 6] {
    [
        generic::tests::sheet(),
        cybersource::tests::sheet(),
        stripe::tests::sheet(),
        adyen::tests::sheet(),
        worldpay::tests::sheet(),
        mpgs::tests::sheet(),
    ]
}

impl Sheet {
    fn parsed(&self, (status, body): &Said) -> Parsed {
        fixtures::parse(self.connector.as_ref(), &self.pay, *status, body.as_bytes())
    }

    fn verdict(&self, said: &Said) -> Option<Verdict> {
        fixtures::verdict(&self.parsed(said))
    }

    /// Every request of an order, as far as it can be built without replies.
    fn built(
        &self,
        attempt: &Attempt,
        channel: Channel<'_>,
        credential: Credential,
    ) -> Result<String, BuildError> {
        let data = fixtures::payment_data("12.40", "GBP");
        let order = Order { attempt, payment_data: &data, channel, credential };
        let (card, stored) = (fixtures::card(), self.stored());
        let source = match credential {
            Credential::Once | Credential::FirstOfStored => Source::Keyed(&card),
            Credential::StoredByCustomer | Credential::StoredByMerchant => Source::Stored(&stored),
        };
        let first = self.connector.first_step(&order, &source);
        let mut text = shown(&self.connector.build(&first, &order, &source, fixtures::now())?);
        // Whatever else can be built, with what earlier steps would have made.
        for (no, count) in (0..8).flat_map(|no| (0..=self.pay.ids.len()).map(move |count| (no, count))) {
            let step = Step { no, ids: self.pay.ids.iter().take(count).cloned().collect() };
            if let Ok(wire) = self.connector.build(&step, &order, &source, fixtures::now()) {
                text += &shown(&wire);
            }
        }
        Ok(text)
    }

    fn stored(&self) -> StoredCard {
        StoredCard { token: self.token.to_owned(), network_transaction_id: Some("MCC123".to_owned()) }
    }
}

fn shown(wire: &WireRequest) -> String {
    fixtures::header_lines(wire) + "\n" + std::str::from_utf8(wire.body.as_ref()).unwrap() + "\n"
}

fn with_purpose(purpose: Purpose) -> Attempt {
    Attempt { purpose, ..fixtures::attempt("12.40", "GBP") }
}

/// Steps that connectors use, and some that they do not, with and without what earlier steps made.
fn steps() -> impl Strategy<Value = Step> {
    let ids = prop::sample::select(vec![vec![], vec!["a1"], vec!["a1", "b2"], vec!["a1", "b2", "c3"]]);
    (0_u8..14, ids).prop_map(|(no, ids)| Step { no, ids: ids.into_iter().map(str::to_owned).collect() })
}

#[test]
fn an_approval_is_one_and_says_so_in_our_words() {
    for sheet in sheets() {
        assert_eq!(sheet.verdict(&sheet.approved), Some(Verdict::Approved), "{}", sheet.name);
        let Parsed::Answer(answer) = sheet.parsed(&sheet.approved) else { panic!("no answer") };
        assert!(!answer.gateway_reference.is_empty() && !answer.result.is_empty(), "{}", sheet.name);
    }
}

#[test]
fn a_decline_is_one_and_a_wish_for_authentication_is_told_apart() {
    for sheet in sheets() {
        let declined = sheet.verdict(&sheet.declined);
        assert!(matches!(declined, Some(Verdict::Declined { .. })), "{}: {declined:?}", sheet.name);
        let class = DeclineClass::Authenticate;
        assert_eq!(sheet.verdict(&sheet.challenge), Some(Verdict::Declined { class }), "{}", sheet.name);
    }
}

#[test]
fn part_of_the_amount_is_no_approval() {
    for sheet in sheets() {
        assert_eq!(sheet.partial.is_some(), sheet.connector.caps().partial, "{}", sheet.name);
        let Some(partial) = &sheet.partial else { continue };
        let approved = fixtures::attempt("6.20", "GBP").amount;
        assert_eq!(sheet.verdict(partial), Some(Verdict::Partial { approved }), "{}", sheet.name);
    }
}

#[test]
fn what_is_not_known_or_not_ours_is_unknown_and_never_a_decline() {
    for sheet in sheets() {
        for said in sheet.time_outs.iter().chain(&sheet.not_ours) {
            let parsed = sheet.parsed(said);
            assert!(matches!(parsed, Parsed::Indeterminate(_)), "{}: {said:?}: {parsed:?}", sheet.name);
        }
        // A server's error decides nothing, whatever it says.
        for said in [&sheet.approved, &sheet.declined] {
            for status in [500, 502, 503, 504] {
                let parsed = sheet.parsed(&(status, said.1.clone()));
                assert!(matches!(parsed, Parsed::Indeterminate(_)), "{}: {status}: {parsed:?}", sheet.name);
            }
        }
    }
}

#[test]
fn a_reply_that_is_cut_off_decides_nothing() {
    for sheet in sheets() {
        for (status, body) in [&sheet.approved, &sheet.declined] {
            for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
                let parsed = sheet.parsed(&(*status, body[..end].to_owned()));
                let decides = matches!(&parsed, Parsed::Answer(answer) if answer.verdict != Verdict::Pending);
                assert!(!decides, "{} at {end}: {parsed:?}", sheet.name);
            }
        }
    }
}

#[test]
fn an_unknown_currency_and_another_amount_are_refused_before_any_byte() {
    for sheet in sheets() {
        let (connector, caps) = (sheet.connector.as_ref(), sheet.connector.caps());
        if let Some(code) = sheet.untaken {
            let attempt = fixtures::attempt("12", code);
            let data = fixtures::payment_data("12", code);
            let card = fixtures::card();
            let order = Order::by_phone(&attempt, &data);
            let built = connector.build(&sheet.pay, &order, &Source::Keyed(&card), fixtures::now());
            let first = connector.build(&Step::default(), &order, &Source::Keyed(&card), fixtures::now());
            let refused = [built, first].into_iter().any(|built| built.err() == Some(BuildError::Currency));
            assert!(refused, "{}", sheet.name);
            assert!(!caps.takes(attempt.amount), "{}", sheet.name);
            assert_eq!(caps.currencies.decimals(attempt.amount.currency()), None, "{}", sheet.name);
        }
        for (amount, code) in [("12.40", "GBP"), ("12", "JPY"), ("1.230", "KWD")] {
            let amount: Money = fixtures::attempt(amount, code).amount;
            assert!(caps.takes(amount), "{} {amount}", sheet.name);
        }
        let differs = fixtures::build_with_other_amount(connector).err();
        assert_eq!(differs, Some(BuildError::AmountDiffers), "{}", sheet.name);
    }
}

#[test]
fn a_keyed_card_is_a_telephone_order_and_a_typed_one_is_not() {
    for sheet in sheets() {
        let attempt = with_purpose(Purpose::Sale);
        let phone = sheet.built(&attempt, Channel::Moto, Credential::Once).unwrap();
        assert!(phone.contains(sheet.moto), "{}: {phone}", sheet.name);
        let lower = phone.to_ascii_lowercase();
        for word in ["3ds", "threeds", "three_d_secure", "cavv", "\"eci\""] {
            assert!(!lower.contains(word), "{}: {word}", sheet.name);
        }
        if sheet.name != "generic" {
            let browser = fixtures::browser();
            let page = sheet.built(&attempt, Channel::Ecommerce(&browser), Credential::Once).unwrap();
            assert!(!page.contains(sheet.moto), "{}: {page}", sheet.name);
        }
    }
}

#[test]
fn what_a_gateway_says_it_can_do_is_what_is_asked_of_it() {
    for sheet in sheets() {
        let (connector, caps) = (sheet.connector.as_ref(), sheet.connector.caps());
        let attempt = with_purpose(Purpose::Authorise);
        let first = Step::default();
        assert_eq!(connector.query(&first, &attempt, fixtures::now()).is_some(), caps.query_by_ref);
        assert_eq!(
            connector.reverse_unknown(&first, &attempt, fixtures::now()).is_some(),
            caps.reverse_by_ref
        );
        for purpose in Purpose::ALL {
            let built = sheet.built(&with_purpose(purpose), Channel::Moto, Credential::Once);
            assert_eq!(built.is_ok(), caps.purposes.contains(&purpose), "{} {purpose:?}", sheet.name);
        }
        for kind in FollowUpKind::ALL {
            let asked = follow_up(&attempt, "a1", kind);
            let built = connector.follow_up(&first, &asked, fixtures::now());
            assert_eq!(built.is_ok(), caps.follow_ups.contains(&kind), "{} {kind:?}", sheet.name);
            let question = connector.query_follow_up(&first, &asked, fixtures::now());
            assert_eq!(question.is_some(), caps.query_follow_up, "{} {kind:?}", sheet.name);
        }
        assert!(connector.notification(b"{}").is_err(), "{}", sheet.name);
    }
}

#[test]
fn a_reference_that_cannot_stand_in_a_path_is_not_put_there() {
    for sheet in sheets() {
        let attempt = with_purpose(Purpose::Authorise);
        for reference in ["", "../a", "a/b", "a?b", "a b", "a\r\nb"] {
            for kind in FollowUpKind::ALL {
                let asked = follow_up(&attempt, reference, kind);
                let built = sheet.connector.follow_up(&Step::default(), &asked, fixtures::now());
                let target = built.map(|wire| wire.endpoint.target).unwrap_or_default();
                assert!(reference.is_empty() || !target.contains(reference), "{}: {target}", sheet.name);
            }
        }
    }
}

#[test]
fn a_kept_card_is_charged_by_its_token_and_marked_as_kept() {
    for sheet in sheets() {
        let attempt = with_purpose(Purpose::Sale);
        for credential in [Credential::StoredByCustomer, Credential::StoredByMerchant] {
            let text = sheet.built(&attempt, Channel::Moto, credential).unwrap();
            let parts: Vec<_> = sheet.token.split(':').filter(|part| !part.contains("//")).collect();
            let named = parts.iter().all(|part| text.contains(part)) || text.contains(sheet.token);
            assert!(named && !text.contains("4111"), "{} {credential:?}: {text}", sheet.name);
        }
        let first = sheet.built(&attempt, Channel::Moto, Credential::FirstOfStored);
        assert!(first.is_ok(), "{}", sheet.name);
    }
}

#[test]
fn keys_and_names_are_the_same_for_every_try_and_others_for_another_id() {
    for sheet in sheets() {
        let attempt = with_purpose(Purpose::Sale);
        let other = Attempt { id: AttemptId(Uuid::from_u128(9)), ..attempt.clone() };
        let one = sheet.built(&attempt, Channel::Moto, Credential::Once).unwrap();
        assert_eq!(one, sheet.built(&attempt, Channel::Moto, Credential::Once).unwrap(), "{}", sheet.name);
        assert_ne!(one, sheet.built(&other, Channel::Moto, Credential::Once).unwrap(), "{}", sheet.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_read_without_a_panic_and_decides_nothing(
        step in steps(),
        status in prop_oneof![Just(200_u16), Just(201), Just(400), Just(404), 100_u16..600],
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[\\[\\]{}\":,a-z0-9_ ]{0,120}".prop_map(String::into_bytes),
        ],
        purpose in prop::sample::select(Purpose::ALL.to_vec()),
        kind in prop::sample::select(FollowUpKind::ALL.to_vec()),
    ) {
        for sheet in sheets() {
            let (connector, attempt) = (sheet.connector.as_ref(), with_purpose(purpose));
            let data = fixtures::payment_data("12.40", "GBP");
            let order = Order::by_phone(&attempt, &data);
            let said = reply(status, &body);
            let parsed = connector.parse(&step, &order, Some(&fixtures::masked()), &said);
            let decides = matches!(&parsed, Parsed::Answer(answer) if answer.verdict != Verdict::Pending);
            prop_assert!(!decides, "{}: {:?}", sheet.name, parsed);
            let asked = connector.parse_query(&step, &attempt, &said);
            prop_assert!(!matches!(asked, ParsedQuery::Found(_) | ParsedQuery::NotFound), "{}", sheet.name);
            let operation = follow_up(&attempt, "a1", kind);
            let followed = connector.parse_follow_up(&step, &operation, &said);
            let done = matches!(followed, ParsedFollowUp::Done { .. } | ParsedFollowUp::Accepted { .. });
            // Worldpay's 202 has no body that counts.
            prop_assert!(!done || sheet.name == "worldpay", "{}: {:?}", sheet.name, followed);
            let asked = connector.parse_query_follow_up(&step, &operation, &said);
            let done = matches!(asked, ParsedFollowUp::Done { .. } | ParsedFollowUp::Accepted { .. });
            prop_assert!(!done, "{}: {:?}", sheet.name, asked);
            let reversed = connector.parse_reverse_unknown(&step, &attempt, &said);
            let claims = matches!(reversed, ParsedReversal::Reversed | ParsedReversal::Accepted);
            prop_assert!(!claims || sheet.name == "worldpay", "{}: {:?}", sheet.name, reversed);
            prop_assert!(connector.notification(&body).is_err());
        }
    }
}

/// No gateway's answer takes longer to become final than a day; a longer time would leave agents without one.
#[test]
fn settle_times_and_replay_windows_are_bounded() {
    for sheet in sheets() {
        let caps = sheet.connector.caps();
        assert!(caps.settle_time <= Duration::from_secs(24 * 60 * 60), "{}", sheet.name);
        assert!(!caps.replay.is_safe(Duration::from_secs(400 * 24 * 60 * 60)) || sheet.name == "mpgs");
    }
}

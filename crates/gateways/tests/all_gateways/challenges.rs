//! Payers who are sent to their bank (3-D Secure), at every gateway that can, with the simulator's bank behind it.

use hushpad_domain::attempt::{Attempt, AttemptState, DeclineClass, Purpose, Verdict};
use hushpad_domain::challenge::{Browser, Challenge, Visit};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_gateways::sandbox::{Fault, Format, Rule};
use hushpad_gateways::{Asked, Challenges, NoReturn, Order, Source, Submission};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CHALLENGERS, NAMES, Town, answered, attempt, card, data, now};

/// A card whose issuer wants to see the payer.
const ASKED: &str = "4000000000003220#1230123";
const BACK: &str = "https://pay.example/pay/abc/back";

fn masked() -> MaskedCard {
    MaskedCard::new(Some(Brand::Visa), 400_000, 3220)
}

impl Town {
    async fn on_a_page() -> Self {
        let town = Self::open().await;
        town.ledger.take_ecommerce();
        town
    }

    async fn pay_on_a_page(&self, name: &str, purpose: Purpose, amount: &str) -> (Attempt, Submission) {
        let attempt = attempt(name, purpose, amount);
        let data = data(amount);
        let browser = Browser::returning_to(BACK.to_owned()).saying(Some("Mozilla/5.0"), None, None);
        let order = Order::by_page(&attempt, &data, &browser);
        let card = card(ASKED);
        let submission = self.gateways.submit(&attempt.gateway, &order, &Source::Keyed(&card)).await;
        (attempt, submission)
    }

    async fn challenged(&self, name: &str, purpose: Purpose, amount: &str) -> (Attempt, Challenge) {
        let (attempt, submission) = self.pay_on_a_page(name, purpose, amount).await;
        let Submission::Challenged(challenge) = submission else { panic!("{name}: {submission:?}") };
        assert_eq!(self.money(&attempt), (0, 0), "{name}: nothing is taken before the payer has confirmed");
        (attempt, challenge)
    }

    /// The payer is back, and we go on.
    async fn back(
        &self,
        attempt: &Attempt,
        challenge: &Challenge,
        came_along: &str,
    ) -> Result<Submission, NoReturn> {
        self.back_from(1, attempt, challenge, came_along).await
    }

    async fn back_from(
        &self,
        visit: u8,
        attempt: &Attempt,
        challenge: &Challenge,
        came_along: &str,
    ) -> Result<Submission, NoReturn> {
        let back = self.gateways.read_return(&attempt.gateway, challenge, came_along.as_bytes())?;
        let visit = Visit { challenge: challenge.clone(), card: Some(masked()), until: now(), no: visit };
        let attempt = Attempt { state: AttemptState::Confirming { visit }, ..attempt.clone() };
        Ok(self.gateways.go_on(&attempt.gateway, &attempt, Some(&masked()), &back).await)
    }
}

/// A browser without scripts: opens the bank's page, presses a button, and is sent back with a query.
async fn at_the_bank(challenge: &Challenge, button: &str) -> String {
    let (host, path) = challenge.url().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let page = ask(host, &format!("GET /{path}"), "").await;
    assert!(page.contains("method=post") && page.contains(&format!("action='/{path}'")), "{page}");
    assert!(!page.contains("<script"), "{page}");
    let answer = ask(host, &format!("POST /{path}"), &format!("decision={button}")).await;
    let location = answer.lines().find_map(|line| line.strip_prefix("location: "));
    location
        .and_then(|url| url.strip_prefix(BACK)?.strip_prefix('?'))
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

async fn ask(host: &str, line: &str, form: &str) -> String {
    let mut stream = TcpStream::connect(host).await.unwrap();
    let length = form.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

/// What a browser would bring that left the bank without an answer.
fn unanswered(name: &str, challenge: &Challenge) -> String {
    let id = challenge.url().rsplit('/').next().unwrap();
    match name {
        "stripe" => format!("payment_intent={}&redirect_status=succeeded", challenge.reference()[0]),
        "adyen" => format!("redirectResult=result.{id}"),
        _ => format!("challenge_id={}", challenge.reference()[0]),
    }
}

#[tokio::test]
async fn a_payer_who_confirms_at_the_bank_has_paid_once_however_often_it_comes_back() {
    let town = Town::on_a_page().await;
    for name in CHALLENGERS {
        for (purpose, money) in [(Purpose::Sale, (1240, 0)), (Purpose::Authorise, (0, 1240))] {
            let (attempt, challenge) = town.challenged(name, purpose, "12.40").await;
            let brought = at_the_bank(&challenge, "confirm").await;
            for _ in 0..2 {
                let answer = answered(name, town.back(&attempt, &challenge, &brought).await.unwrap());
                assert_eq!((answer.verdict, answer.card), (Verdict::Approved, Some(masked())), "{name}");
                assert_eq!(town.money(&attempt), money, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_payer_who_refuses_at_the_bank_has_paid_nothing() {
    let town = Town::on_a_page().await;
    for name in CHALLENGERS {
        let (attempt, challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        let brought = at_the_bank(&challenge, "refuse").await;
        let answer = answered(name, town.back(&attempt, &challenge, &brought).await.unwrap());
        let refused = Verdict::Declined { class: DeclineClass::Authenticate };
        assert_eq!(answer.verdict, refused, "{name}");
        // A change of mind comes too late.
        at_the_bank_again(&challenge).await;
        assert_eq!(town.money(&attempt), (0, 0), "{name}");
    }
}

async fn at_the_bank_again(challenge: &Challenge) {
    let (host, path) = challenge.url().strip_prefix("http://").unwrap().split_once('/').unwrap();
    let over = ask(host, &format!("GET /{path}"), "").await;
    assert!(over.starts_with("HTTP/1.1 410") && !over.contains("<form"), "{over}");
    ask(host, &format!("POST /{path}"), "decision=confirm").await;
}

#[tokio::test]
async fn a_payer_who_comes_back_without_an_answer_is_still_awaited() {
    let town = Town::on_a_page().await;
    for name in CHALLENGERS {
        let (attempt, challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        let early = unanswered(name, &challenge);
        let Submission::Challenged(again) = town.back(&attempt, &challenge, &early).await.unwrap() else {
            panic!("{name}: an unanswered challenge was taken for an answer")
        };
        assert_eq!(again.url(), challenge.url(), "{name}");
        let brought = at_the_bank(&again, "confirm").await;
        let answer = answered(name, town.back_from(2, &attempt, &again, &brought).await.unwrap());
        assert_eq!(answer.verdict, Verdict::Approved, "{name}");
    }
}

#[tokio::test]
async fn nonsense_is_no_return_and_decides_nothing() {
    let town = Town::on_a_page().await;
    for name in CHALLENGERS {
        let (attempt, challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        let long = "x".repeat(60_000);
        for brought in [
            "",
            "&&==",
            "%ff%fe",
            "redirect_status=succeeded",
            "payment_intent=pi_other",
            "challenge_id=chl_other",
            "redirectResult=",
            "MD=only",
            "redirectResult=result.NOBODYS",
            "redirectResult=..%2F..%2F",
            &long,
        ] {
            match town.back(&attempt, &challenge, brought).await {
                Err(NoReturn) => {}
                Ok(Submission::Challenged(again)) => {
                    assert_eq!(again.url(), challenge.url(), "{name} {brought}")
                }
                Ok(other) => panic!("{name} {brought}: {other:?}"),
            }
        }
        assert_eq!(town.money(&attempt), (0, 0), "{name}");
    }
}

/// The payer of two links at one shop brings back the one where the other was awaited.
#[tokio::test]
async fn what_comes_back_from_another_payment_says_nothing_of_this_one() {
    let town = Town::on_a_page().await;
    for name in CHALLENGERS {
        let (dear, dear_challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        let (_, cheap_challenge) = town.challenged(name, Purpose::Sale, "0.01").await;
        let brought = at_the_bank(&cheap_challenge, "confirm").await;
        match town.back(&dear, &dear_challenge, &brought).await {
            Err(NoReturn) | Ok(Submission::Challenged(_)) => {}
            Ok(other) => panic!("{name}: {other:?}"),
        }
        assert_eq!(town.money(&dear), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn a_payer_who_never_comes_back_is_charged_only_where_that_can_be_asked() {
    let town = Town::on_a_page().await;
    for name in CHALLENGERS {
        let (confirmed, challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        at_the_bank(&challenge, "confirm").await;
        let (left, left_challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        match town.gateways.caps(&confirmed.gateway).unwrap().challenge {
            Challenges::ChargedOnReturn => assert_eq!(town.money(&confirmed), (0, 0), "{name}"),
            Challenges::ChargedAtBank => {
                assert_eq!(town.money(&confirmed), (1240, 0), "{name}");
                let Asked::Found(found) = town.gateways.ask(&confirmed.gateway, &confirmed).await else {
                    panic!("{name}: not found")
                };
                assert_eq!(found.verdict, Verdict::Approved, "{name}");
                // Asking about the other one ends it: the payer can confirm it no more.
                let Asked::Found(found) = town.gateways.ask(&left.gateway, &left).await else {
                    panic!("{name}: not found")
                };
                assert_eq!(found.verdict, Verdict::Declined { class: DeclineClass::Authenticate }, "{name}");
                at_the_bank_again(&left_challenge).await;
            }
            Challenges::None => panic!("{name} has no challenge"),
        }
        assert_eq!(town.money(&left), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn a_return_whose_answer_is_lost_is_unknown_and_never_declined() {
    let town = Town::on_a_page().await;
    for (name, gateway, path) in
        [("adyen", Format::Adyen, "details"), ("generic", Format::Generic, "charges")]
    {
        let (attempt, challenge) = town.challenged(name, Purpose::Sale, "12.40").await;
        let brought = at_the_bank(&challenge, "confirm").await;
        town.ledger.add_fault(Rule {
            fault: Fault::ResetAfterCommit,
            gateway: Some(gateway),
            path: Some(path.to_owned()),
            method: None,
            after: 0,
            times: 1,
        });
        let submission = town.back(&attempt, &challenge, &brought).await.unwrap();
        assert!(matches!(submission, Submission::Unknown(_)), "{name}: {submission:?}");
        assert_eq!(town.money(&attempt), (1240, 0), "{name}");
    }
    // At Stripe it is only a look, which may be done again.
    let (attempt, challenge) = town.challenged("stripe", Purpose::Sale, "12.40").await;
    let brought = at_the_bank(&challenge, "confirm").await;
    town.ledger.add_fault(Rule {
        fault: Fault::ResetAfterCommit,
        gateway: Some(Format::Stripe),
        path: None,
        method: Some("GET".to_owned()),
        after: 0,
        times: 1,
    });
    let answer = answered("stripe", town.back(&attempt, &challenge, &brought).await.unwrap());
    assert_eq!(answer.verdict, Verdict::Approved);
}

#[tokio::test]
async fn a_gateway_without_a_challenge_declines_for_want_of_one() {
    let town = Town::on_a_page().await;
    for name in NAMES.into_iter().filter(|name| !CHALLENGERS.contains(name)) {
        let (attempt, submission) = town.pay_on_a_page(name, Purpose::Sale, "12.40").await;
        let declined = Verdict::Declined { class: DeclineClass::Authenticate };
        assert_eq!(answered(name, submission).verdict, declined, "{name}");
        assert_eq!(town.money(&attempt), (0, 0), "{name}");
        assert_eq!(town.gateways.caps(&attempt.gateway).unwrap().challenge, Challenges::None, "{name}");
    }
}

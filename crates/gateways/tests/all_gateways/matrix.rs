//! What goes wrong, by what and at which gateway: every connector has every case, and what comes of it is in the cell.
//! What money moved is in it too, in minor units: a gateway may have taken what it did not say.
//!
//! Worldpay's answers name no amount, so there is none that could be wrong; Stripe and Worldpay approve no part, and decline
//! at that amount here. An answer that is cut off is waited for in vain.

use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::attempt::{Attempt, DeclineClass, NotSent, Purpose, Unknown, Verdict};
use hushpad_domain::challenge::Browser;
use hushpad_gateways::{Order, Patience, Source, Submission};

use super::{Town, VISA, attempt_of, card, data_in};

/// The six, by one way of signing each.
const GATEWAYS: [&str; 6] = ["generic", "cybersource", "stripe", "adyen", "worldpay", "mpgs"];
/// A card whose issuer wants to see the payer.
const ASKED: &str = "4000000000003220#1230123";
/// No connector has an entry for it; the generic one leaves it to its gateway.
const NOBODYS_CURRENCY: &str = "KPW";

/// One case: the card, the amount at which the simulator does it, and how the card comes.
struct Case {
    name: &'static str,
    keys: &'static str,
    amount: &'static str,
    currency: &'static str,
    on_a_page: bool,
}

impl Case {
    const fn of(name: &'static str, amount: &'static str) -> Self {
        Self { name, keys: VISA, amount, currency: "GBP", on_a_page: false }
    }
}

static CASES: [Case; 11] = [
    Case::of("decline", "66.01"),
    Case { keys: ASKED, ..Case::of("challenge by phone", "1.00") },
    Case { keys: ASKED, on_a_page: true, ..Case::of("challenge on a page", "1.00") },
    Case::of("time-out, charged", "67.02"),
    Case::of("time-out, not charged", "67.11"),
    Case::of("garbage", "67.06"),
    Case::of("a web page", "67.12"),
    Case::of("half an answer", "67.07"),
    Case::of("answer in another currency", "67.15"),
    Case { currency: NOBODYS_CURRENCY, ..Case::of("order in a currency not known", "10.00") },
    Case::of("partial approval", "68.01"),
];

async fn cell(town: &Town, name: &str, case: &Case) -> String {
    let data = data_in(case.currency, case.amount);
    let attempt = attempt_of(name, Purpose::Sale, data.amount());
    let browser = Browser::returning_to("https://pay.example/back".to_owned());
    let order = match case.on_a_page {
        true => Order::by_page(&attempt, &data, &browser),
        false => Order::by_phone(&attempt, &data),
    };
    let card = card(case.keys);
    let submission = town.gateways.submit(&attempt.gateway, &order, &Source::Keyed(&card)).await;
    format!("{}{}", word(&submission), money(town, &attempt))
}

/// What is reported.
fn word(submission: &Submission) -> String {
    match submission {
        Submission::Answered(answer) => match &answer.verdict {
            Verdict::Approved => "approved".to_owned(),
            Verdict::Partial { approved } => format!("part {}", approved.decimal()),
            Verdict::Review => "review".to_owned(),
            Verdict::Pending => "pending".to_owned(),
            Verdict::Declined { class: DeclineClass::Authenticate } => "wants the bank".to_owned(),
            Verdict::Declined { .. } => "declined".to_owned(),
        },
        Submission::Challenged(_) => "sent to the bank".to_owned(),
        Submission::NotSent(NotSent::Unsupported) => "not sent".to_owned(),
        Submission::NotSent(other) => format!("not sent: {other:?}"),
        Submission::Unknown(Unknown::TimedOut) => "unknown, late".to_owned(),
        Submission::Unknown(Unknown::ConnectionLost) => "unknown, lost".to_owned(),
        Submission::Unknown(Unknown::Unreadable) => "unknown, unread".to_owned(),
        Submission::Unknown(other) => format!("unknown: {other:?}"),
    }
}

/// What the ledger says, where money moved.
fn money(town: &Town, attempt: &Attempt) -> String {
    match town.money(attempt) {
        (0, 0) => String::new(),
        (taken, 0) => format!(" ({taken})"),
        (taken, held) => format!(" ({taken}, held {held})"),
    }
}

#[tokio::test]
async fn every_connector_has_every_case() {
    // Long enough for every answer that comes, as they come at once.
    let patience = Patience { connect: Duration::from_secs(3), whole: Duration::from_secs(3) };
    let town = Arc::new(Town::with(patience).await);
    town.ledger.take_ecommerce();
    let mut table = format!("{:30}", "");
    for name in GATEWAYS {
        table.push_str(&format!("| {name:23}"));
    }
    for case in &CASES {
        table.push_str(&format!("\n{:30}", case.name));
        // Side by side, as some take the whole patience.
        let cells = GATEWAYS.map(|name| {
            let town = Arc::clone(&town);
            tokio::spawn(async move { cell(&town, name, case).await })
        });
        for cell in cells {
            table.push_str(&format!("| {:23}", cell.await.unwrap()));
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
                              | generic                | cybersource            | stripe                 | adyen                  | worldpay               | mpgs
decline                       | declined               | declined               | declined               | declined               | declined               | declined
challenge by phone            | wants the bank         | wants the bank         | wants the bank         | wants the bank         | wants the bank         | wants the bank
challenge on a page           | sent to the bank       | wants the bank         | sent to the bank       | sent to the bank       | wants the bank         | wants the bank
time-out, charged             | unknown, late (6702)   | unknown, late (6702)   | unknown, late (6702)   | unknown, late (6702)   | unknown, late (6702)   | unknown, late (6702)
time-out, not charged         | unknown, late          | unknown, late          | unknown, late          | unknown, late          | unknown, late          | unknown, late
garbage                       | unknown, unread (6706) | unknown, unread (6706) | unknown, unread (6706) | unknown, unread (6706) | unknown, unread (6706) | unknown, unread (6706)
a web page                    | unknown, unread (6712) | unknown, unread (6712) | unknown, unread (6712) | unknown, unread (6712) | unknown, unread (6712) | unknown, unread (6712)
half an answer                | unknown, late (6707)   | unknown, late (6707)   | unknown, late (6707)   | unknown, late (6707)   | unknown, late (6707)   | unknown, late (6707)
answer in another currency    | unknown, unread (6715) | unknown, unread (6715) | unknown, unread (6715) | unknown, unread (6715) | approved (6715)        | unknown, unread (6715)
order in a currency not known | approved (1000)        | not sent               | not sent               | not sent               | not sent               | not sent
partial approval              | part 34.00 (3400)      | part 34.00 (3400)      | declined               | part 34.00 (3400)      | declined               | part 34.00 (3400)
");
}

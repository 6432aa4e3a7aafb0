//! What takes a whole card by HTTP: the payer page, where a consumer types it into a browser, and the pay connector,
//! by which others' telephony hands it over. Each has a listener of its own. The rest is about the page; the pay connector
//! is in `connector`, and [`connector_router`] serves it.
//!
//! The page is opened by a payment link, and lives on a listener and an origin of its own. The link's code is the
//! only key: who has it may pay this one bill, once, until it expires. The page works on a phone, with a
//! screen reader, and without scripts: the script only shows the brand while the number is typed, and tells
//! the agent how far the payer is.
//!
//! What is needed from the secure side comes in as [`PaymentLinks`]. [`payer_router`] is the page.
//!
//! ```text
//! GET  /pay/{code}            what the link shows now: the form, or what became of the payment
//! POST /pay/{code}            the card; answered with a redirect, so that a reload pays nothing
//! GET  /pay/{code}/state      whether it may still change, for the script
//! POST /pay/{code}/typing     how far the payer is: a field's name and a count, no digit
//! GET/POST /pay/{code}/back   where the bank's own check sends the payer back to
//! GET  /specimen              the form without a bill, which pays nothing: for `hushpad page-watch`
//! POST /csp-report            what a browser refused to load
//! GET  /inventory.json        every script, why it is there, and its hash (PCI DSS 6.4.3)
//! ```
//!
//! Read in this order: `links.rs` (the port), `page.rs` (the routes), `form.rs` and `body.rs` (how a
//! card is read), `view.rs` (the words), `assets.rs` (the files and their hashes), `release.rs` (what this release sends, to compare with).

mod assets;
mod body;
mod connector;
mod form;
mod links;
mod page;
mod release;
mod report;
mod throttle;
mod view;

pub use connector::{
    ConnectorDesk, ConnectorOrder, ConnectorParts, ConnectorRefused, ConnectorUser, ConnectorUsers, Found,
    Method, Patience, TransactionKey, connector_router,
};
pub use links::{
    Bill, Challenge, Form, LinkCode, LinkRefused, Outcome, PayRefused, PaymentLinks, Sight, Source, Typing,
    Visitor,
};
pub use page::{PayerParts, payer_router};
pub use release::{Release, ReleaseFile, release};

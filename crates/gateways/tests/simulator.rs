//! The gateway simulator, by its doors: each gateway's own rules, and the ledger behind them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "simulator/adyen.rs"]
mod adyen;
#[path = "simulator/cybersource.rs"]
mod cybersource;
#[path = "simulator/doors.rs"]
mod doors;
#[path = "simulator/faults.rs"]
mod faults;
#[path = "simulator/generic.rs"]
mod generic;
#[path = "simulator/mpgs.rs"]
mod mpgs;
#[path = "simulator/odd.rs"]
mod odd;
#[path = "simulator/stripe.rs"]
mod stripe;
#[path = "simulator/worldpay.rs"]
mod worldpay;

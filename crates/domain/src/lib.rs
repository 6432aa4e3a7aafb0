//! What is true in Hushpad: accounts, payment sessions, attempts, money, and the ports to the world.
//!
//! This room is pure. It has no clock, no randomness, no socket, no file and no card data: time and
//! chance come in as arguments, a state change goes out as a [`change::Change`] that one commit writes.
//!
//! Read in this order: [`session`] (the life of a payment session), [`attempt`] (one authorisation),
//! [`challenge`] (when the bank asks the payer), [`operation`] (what is done with it afterwards),
//! [`acceptance`] (what of an approval is taken), [`link`] (paying by a link in place of the phone),
//! [`change`] and [`event`] (what is written and told), [`open_session`] (the steps of `POST /v1/session`),
//! [`notification`] (what gateways tell unasked), [`page`] (what the agent sees), [`webhook`] (what the back end is
//! told), [`message`] (how a payment link reaches the payer), [`ports`] (every door to the outside).

pub mod acceptance;
pub mod account;
pub mod attempt;
pub mod challenge;
pub mod change;
pub mod client;
pub mod credentials;
pub mod event;
pub mod field;
pub mod field_map;
pub mod ids;
pub mod kept_card;
pub mod link;
pub mod listing;
pub mod masked_card;
pub mod message;
pub mod money;
pub mod notification;
pub mod open_session;
pub mod operation;
pub mod page;
pub mod payment_data;
pub mod ports;
pub mod replay;
pub mod session;
pub mod text;
pub mod time;
pub mod webhook;

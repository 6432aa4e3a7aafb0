mod document;
mod events;
mod idempotency;
mod matrix;
mod page;
mod refusals;
mod sessions;
mod token;

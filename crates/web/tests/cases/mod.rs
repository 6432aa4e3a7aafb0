mod document;
mod idempotency;
mod page;
mod refusals;
mod sessions;
mod token;

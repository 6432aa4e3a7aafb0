mod calls;
mod idempotency;
mod page;
mod refusals;
mod sessions;
mod token;
mod webhooks;

//! The web room from outside: requests in, answers out, with fakes behind its ports.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod fakes;

//! Moments. The wall clock is read in `server` and handed in.

use std::fmt;
use std::time::Duration;

use ::time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use serde::{Deserialize, Serialize};

/// ISO 8601, UTC, six decimals, `Z`: the wire form of the Payment API.
const WIRE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// A moment of the wall clock, in microseconds since 1970-01-01T00:00:00Z.
///
/// For what is stored and shown. Time-outs use the monotonic [`Tick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment from microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// A moment from RFC 3339 text; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &::time::format_description::well_known::Rfc3339).ok()?;
        i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000)).ok().map(Self)
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as JWTs use.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `length` more; stops at the end of time.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The calendar year and month in UTC.
    #[must_use]
    pub fn year_month(self) -> (i32, u8) {
        let date = self.to_date_time();
        (date.year(), u8::from(date.month()))
    }

    fn to_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_date_time().format(WIRE).map_err(|_| fmt::Error)?)
    }
}

/// A moment of the monotonic clock, in milliseconds since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Tick {
    /// This moment and `length` more.
    #[must_use]
    pub fn plus(self, length: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_six_decimals_in_utc() {
        insta::assert_snapshot!(Timestamp::from_micros(1_605_000_000_000_001), @"2020-11-10T09:20:00.000001Z");
        insta::assert_snapshot!(Timestamp::from_micros(0), @"1970-01-01T00:00:00.000000Z");
    }
}

//! What gateways tell without being asked: read and verified by a connector.

use thiserror::Error;

/// More than any gateway puts into one notification.
pub const NOTIFICATIONS_MAX: usize = 100;

/// Why a notification is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotificationError {
    /// This gateway tells nothing, or its key is not configured.
    #[error("no notifications are expected of this gateway")]
    NotExpected,
    /// No gateway has this name.
    #[error("no gateway has this name")]
    NoGateway,
    /// It cannot be read.
    #[error("the notification cannot be read")]
    Malformed,
    /// Its signature is missing or wrong, or it is for another merchant account.
    #[error("the notification is not signed by the gateway for us")]
    NotSigned,
}

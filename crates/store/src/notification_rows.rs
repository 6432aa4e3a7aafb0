//! How notifications that wait look in their rows, the same in every engine.
//!
//! Only what must be gone is sealed: the gateway's result and the stored card. The rest says what happened, and must be
//! readable without the keys too: a gateway that has its receipt does not tell it again.

use std::collections::BTreeMap;

use hushpad_domain::attempt::StoredCard;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::notification::{Notification, Told, Waiting};
use hushpad_domain::ports::StoreUnavailable;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::keys::Keys;
use crate::rows::{json, text};

/// A notification as it is stored.
pub(super) struct NotificationColumns {
    pub(super) told: String,
    pub(super) sealed: Option<Vec<u8>>,
}

impl NotificationColumns {
    pub(super) fn of(notification: &Notification, keys: &Keys) -> Result<Self, StoreUnavailable> {
        let mut bare = notification.clone();
        let sealed = match Sealed::taken_from(&mut bare.what) {
            Some(sealed) => Some(keys.seal(text("a notification", &sealed)?.into_bytes())?),
            None => None,
        };
        Ok(Self { told: text("a notification", &bare)?, sealed })
    }
}

/// A notification that waits, as it is read.
#[derive(FromRow)]
pub(super) struct NotificationRow {
    number: i64,
    gateway: String,
    told: String,
    sealed: Option<Vec<u8>>,
}

impl NotificationRow {
    /// The notification that the row means; without result and stored card when their key is gone.
    ///
    /// # Errors
    /// The row was not written by us.
    pub(super) fn read(self, keys: &Keys) -> Result<Waiting, StoreUnavailable> {
        let mut notification: Notification = json("a notification", self.told.as_bytes())?;
        if let Some(plain) = self.sealed.and_then(|sealed| keys.open_sealed(&sealed)) {
            json::<Sealed>("a notification", &plain)?.put_into(&mut notification.what);
        }
        Ok(Waiting { number: self.number, gateway: GatewayName(self.gateway), notification })
    }
}

/// What of a notification must be gone once it is taken up.
#[derive(Serialize, Deserialize)]
struct Sealed {
    result: BTreeMap<String, String>,
    stored: Option<StoredCard>,
}

impl Sealed {
    fn taken_from(told: &mut Told) -> Option<Self> {
        match told {
            Told::Attempt { result, stored, .. } if !result.is_empty() || stored.is_some() => {
                Some(Self { result: std::mem::take(result), stored: stored.take() })
            }
            Told::Attempt { .. }
            | Told::FollowUp { .. }
            | Told::Reversal { .. }
            | Told::FailedLater { .. }
            | Told::Other { .. } => None,
        }
    }

    fn put_into(self, told: &mut Told) {
        if let Told::Attempt { result, stored, .. } = told {
            (*result, *stored) = (self.result, self.stored);
        }
    }
}

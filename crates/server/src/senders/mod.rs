//! Payment links to payers: by text message over a provider's HTTP API ([`sms`]), or by e-mail over SMTP ([`mail`]).
//!
//! Each account has senders of its own, or none. What a message says is a [`template`] of its configuration. A message
//! is tried a few times, and no more: the payer waits for it. A provider that does not answer may have sent it all the
//! same, so the payer may get it twice, never a wrong one: the link pays one bill once. Nothing of a message is logged:
//! no number, no address, no link.

pub mod mail;
pub mod sms;
pub mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hushpad_domain::ids::AccountId;
use hushpad_domain::message::{Contact, Message, SendRefused};
use hushpad_domain::ports::{LinkSender, World};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use mail::{Mail, MailConfig, MailSender};
use sms::{SmsConfig, SmsSender};

/// Messages on their way at one time, over all accounts. Each holds a connection for seconds; more at once is a back
/// end that went wild.
const ON_THEIR_WAY_MAX: usize = 64;
/// Tries of one message.
pub const TRIES_MAX: u32 = 3;
/// Before the second try; doubled before the third.
pub const PAUSE_FIRST: Duration = Duration::from_secs(2);

/// How one account sends.
pub struct SendersConfig {
    /// Whose.
    pub account: AccountId,
    /// By text message.
    pub sms: Option<SmsConfig>,
    /// By e-mail.
    pub mail: Option<MailConfig>,
}

/// The senders of every account.
pub struct Senders {
    accounts: BTreeMap<AccountId, Ways>,
    places: Semaphore,
    pause_first: Duration,
}

struct Ways {
    sms: Option<SmsSender>,
    mail: Option<MailSender>,
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    /// The provider has it.
    Taken,
    /// The provider will not have it, however often it is asked.
    Refused(SendRefused),
    /// Nothing came of it, or nobody knows: it may be tried again.
    Again,
}

impl Senders {
    /// Senders that open no connection yet.
    #[must_use]
    pub fn new(configs: Vec<SendersConfig>, world: &Arc<dyn World>) -> Self {
        let accounts = configs.into_iter().map(|config| {
            let sms = config.sms.map(SmsSender::new);
            let mail = config.mail.map(|config| MailSender::new(config, Arc::clone(world)));
            (config.account, Ways { sms, mail })
        });
        Self {
            accounts: accounts.collect(),
            places: Semaphore::new(ON_THEIR_WAY_MAX),
            pause_first: PAUSE_FIRST,
        }
    }
}

#[async_trait]
impl LinkSender for Senders {
    async fn send(&self, to: Contact, message: Message) -> Result<(), SendRefused> {
        let ways = self.accounts.get(&message.account).ok_or(SendRefused::NoSender)?;
        let _place = self.places.try_acquire().map_err(|_| SendRefused::Busy)?;
        let errand = match (&to, &ways.sms, &ways.mail) {
            (Contact::Phone(number), Some(sender), _) => {
                Errand::Sms(sender, sender.written(number, &message))
            }
            (Contact::Email(address), _, Some(sender)) => {
                Errand::Mail(sender, sender.written(address, &message)?)
            }
            (Contact::Phone(_), None, _) | (Contact::Email(_), _, None) => return Err(SendRefused::NoSender),
        };
        let (kind, sent) = (errand.kind(), self.patiently(&errand).await);
        match sent {
            (Ok(()), tries) => info!(account = %message.account, kind, tries, "a payment link was sent"),
            (Err(refused), tries) => {
                warn!(account = %message.account, kind, tries, reason = %refused, "a payment link was not sent");
            }
        }
        sent.0
    }
}

/// One message, written, with whom to send it.
enum Errand<'a> {
    Sms(&'a SmsSender, Bytes),
    Mail(&'a MailSender, Mail),
}

impl Errand<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Sms(..) => "sms",
            Self::Mail(..) => "e-mail",
        }
    }

    async fn once(&self) -> Tried {
        match self {
            Self::Sms(sender, body) => sender.post(body).await,
            Self::Mail(sender, mail) => sender.hand_over(mail).await,
        }
    }
}

impl Senders {
    /// Tries a few times. Says how often.
    async fn patiently(&self, errand: &Errand<'_>) -> (Result<(), SendRefused>, u32) {
        let mut pause = self.pause_first;
        for tries in 1..=TRIES_MAX {
            match errand.once().await {
                Tried::Taken => return (Ok(()), tries),
                Tried::Refused(refused) => return (Err(refused), tries),
                Tried::Again if tries < TRIES_MAX => tokio::time::sleep(pause).await,
                Tried::Again => {}
            }
            pause *= 2;
        }
        (Err(SendRefused::Unreachable), TRIES_MAX)
    }
}

//! E-mail over SMTP (RFC 5321), to a relay of the account's own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::message::{EmailAddress, Message, SendRefused};
use hushpad_domain::ports::World;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing::warn;

use super::Tried;
use super::template::Template;
use crate::webhooks::guard::Reach;

/// A whole try. Relays look at senders and scan mails before they answer.
const TRY_TIME_OUT: Duration = Duration::from_secs(20);
/// Of it, for one step of the conversation.
const STEP_TIME_OUT: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// Whichever the relay offers. Both go over TLS only.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// How an account sends e-mail.
pub struct MailConfig {
    /// The relay.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the line is made safe.
    pub security: Security,
    /// Who we are there.
    pub credentials: Option<Credentials>,
    /// Whom the mail is from.
    pub from: Mailbox,
    /// Its subject.
    pub subject: Template,
    /// What it says.
    pub text: Template,
    /// Where the relay may be.
    pub reach: Reach,
}

/// How the line to the relay is made safe.
pub enum Security {
    /// TLS from the first byte (RFC 8314).
    Tls(TlsParameters),
    /// `STARTTLS` (RFC 3207); a relay that does not offer it gets nothing.
    StartTls(TlsParameters),
    /// None: for a relay on this host.
    None,
}

/// Sends an account's e-mails.
pub struct MailSender {
    config: MailConfig,
    hello: ClientId,
    world: Arc<dyn World>,
}

/// A mail, ready to be handed over. The same bytes for every try, with one id: who gets it twice sees that.
pub(super) struct Mail {
    envelope: Envelope,
    bytes: Vec<u8>,
}

impl MailSender {
    /// A sender that opens no connection yet.
    #[must_use]
    pub fn new(config: MailConfig, world: Arc<dyn World>) -> Self {
        // Relays compare it with nothing; the sender's domain says no more than the mail does.
        let hello = ClientId::Domain(config.from.email.domain().to_owned());
        Self { config, hello, world }
    }

    /// One message as a mail.
    ///
    /// # Errors
    /// [`SendRefused::Contact`]: the address cannot stand in a mail.
    pub(super) fn written(&self, address: &EmailAddress, message: &Message) -> Result<Mail, SendRefused> {
        let MailConfig { from, subject, text, .. } = &self.config;
        let to = address.as_str().parse().map_err(|_| SendRefused::Contact)?;
        let id = format!("<{}@{}>", self.world.guid(), from.email.domain());
        let mail = lettre::Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject.told(message))
            .message_id(Some(id))
            .header(ContentType::TEXT_PLAIN)
            .body(text.told(message))
            .map_err(|_| SendRefused::Contact)?;
        Ok(Mail { envelope: mail.envelope().clone(), bytes: mail.formatted() })
    }

    /// One try.
    pub(super) async fn hand_over(&self, mail: &Mail) -> Tried {
        timeout(TRY_TIME_OUT, self.converse(mail)).await.unwrap_or(Tried::Again)
    }

    async fn converse(&self, mail: &Mail) -> Tried {
        let MailConfig { host, security, credentials, .. } = &self.config;
        let mut line = match self.connect().await {
            Ok(line) => line,
            Err(tried) => return tried,
        };
        if let Security::StartTls(parameters) = security {
            if !line.can_starttls() {
                warn!(relay = host, "it offers no STARTTLS: nothing is sent to it");
                return Tried::Refused(SendRefused::NotAllowed);
            }
            if line.starttls(parameters.clone(), &self.hello).await.is_err() {
                return Tried::Again;
            }
        }
        if let Some(credentials) = credentials
            && let Err(error) = line.auth(&MECHANISMS, credentials).await
        {
            // A server without any mechanism of ours is an error of the client's, not of the line.
            let lasting = error.is_permanent() || error.is_client();
            return if lasting { Tried::Refused(SendRefused::NotAllowed) } else { Tried::Again };
        }
        let sent = line.send(&mail.envelope, &mail.bytes).await;
        match sent {
            Ok(_) => {
                // The relay has it; how it says goodbye does not matter.
                let _ = line.quit().await;
                Tried::Taken
            }
            Err(error) if error.is_permanent() => Tried::Refused(SendRefused::Contact),
            Err(_) => Tried::Again,
        }
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Tried> {
        let MailConfig { host, port, security, reach, .. } = &self.config;
        let found = lookup_host((host.as_str(), *port)).await.map_err(|_| Tried::Again)?;
        let allowed: Vec<SocketAddr> =
            found.take(ADDRESSES_MAX).filter(|address| reach.allows(address.ip())).collect();
        if allowed.is_empty() {
            warn!(relay = host, "its address is none that may be called");
            return Err(Tried::Refused(SendRefused::NotAllowed));
        }
        let parameters = match security {
            Security::Tls(parameters) => Some(parameters.clone()),
            Security::StartTls(_) | Security::None => None,
        };
        // The addresses that were looked at, not the name again.
        AsyncSmtpConnection::connect_tokio1(
            allowed.as_slice(),
            Some(STEP_TIME_OUT),
            &self.hello,
            parameters,
            None,
        )
        .await
        .map_err(|_| Tried::Again)
    }
}

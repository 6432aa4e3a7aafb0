//! Payment links, as their page sees them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hushpad_card::Card;
use hushpad_domain::challenge::Browser;
use hushpad_domain::ids::ProviderSessionGuid;
use hushpad_domain::link::LinkNo;
use hushpad_domain::time::Tick;
use hushpad_payer::{LinkCode, LinkRefused, PayRefused, PaymentLinks, Sight, Typing, Visitor};
use tokio::sync::oneshot;

use super::codes::LinkCodes;
use super::command::{Command, Payment};
use super::{Door, Found, NotFound, SecureDesk, sight};

/// How long a look waits for the outcome of a payment that is under way. Most gateways answer within; a page without
/// scripts then shows the outcome at once.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(4);

/// That a link was opened is written down before its page is shown, unless the store takes longer than this.
const NOTED_PATIENCE: Duration = Duration::from_secs(2);

/// The door of the payer page to the secure side.
pub struct PayerDesk {
    desk: SecureDesk,
    codes: Arc<LinkCodes>,
}

impl PayerDesk {
    /// The links of this desk.
    #[must_use]
    pub fn new(desk: SecureDesk, codes: Arc<LinkCodes>) -> Self {
        Self { desk, codes }
    }

    fn open(&self, code: &LinkCode) -> Result<(ProviderSessionGuid, LinkNo), LinkRefused> {
        self.codes.open(code).ok_or(LinkRefused::NoSuchLink)
    }

    fn browser(&self, session: ProviderSessionGuid, link: LinkNo, from: &Visitor) -> Browser {
        let back = format!("{}/back", self.codes.url(session, link).reveal());
        let said = (from.user_agent.as_deref(), from.accept.as_deref(), from.languages.as_deref());
        Browser { address: from.address, ..Browser::returning_to(back).saying(said.0, said.1, said.2) }
    }

    async fn find(&self, session: ProviderSessionGuid) -> Result<Found, LinkRefused> {
        self.desk.find(session).await.map_err(|not_found| match not_found {
            NotFound::NoSuchSession => LinkRefused::NoSuchLink,
            NotFound::Unavailable => LinkRefused::Unavailable,
        })
    }
}

#[async_trait]
impl PaymentLinks for PayerDesk {
    async fn look(&self, code: &LinkCode) -> Result<Sight, LinkRefused> {
        let (session, link) = self.open(code)?;
        match self.find(session).await? {
            Found::Live(mut door) => {
                let (seen, noted) = oneshot::channel();
                // A full inbox means that the payer is known to be here.
                if door.commands.try_send(Command::Looked(link, seen)).is_ok() {
                    let _ = tokio::time::timeout(NOTED_PATIENCE, noted).await;
                }
                let settled = door.shown.wait_for(|shown| !shown.is_processing());
                let _ = tokio::time::timeout(OUTCOME_PATIENCE, settled).await;
                let sight = door.shown.borrow().by(link);
                Ok(sight)
            }
            Found::AtRest(session) => Ok(sight::at_rest(&session, &self.desk.shared.payee(&session))),
        }
    }

    async fn typing(&self, code: &LinkCode, typing: Typing) {
        if let Ok((session, link)) = self.open(code)
            && let Some(Door { commands, .. }) = self.desk.door(session)
        {
            // One count more or less does no harm.
            let _ = commands.try_send(Command::Typed(link, typing));
        }
    }

    async fn pay(&self, code: &LinkCode, round: u32, card: Card, from: Visitor) -> Result<(), PayRefused> {
        let (session, link) = self.open(code).map_err(PayRefused::Link)?;
        let Found::Live(door) = self.find(session).await.map_err(PayRefused::Link)? else {
            return Err(PayRefused::NotNow);
        };
        let (done, answer) = oneshot::channel();
        let browser = self.browser(session, link, &from);
        let payment = Box::new(Payment { link, round, card, browser });
        let sent = door.commands.send(Command::Pay(payment, done)).await;
        sent.map_err(|_| PayRefused::NotNow)?;
        answer.await.unwrap_or(Err(PayRefused::NotNow))
    }

    async fn back(&self, code: &LinkCode, came_along: &[u8]) -> Result<(), LinkRefused> {
        let (session, _) = self.open(code)?;
        let Found::Live(door) = self.find(session).await? else { return Ok(()) };
        let (done, taken) = oneshot::channel();
        let back = Command::Back(came_along.to_vec(), done);
        door.commands.send(back).await.map_err(|_| LinkRefused::Unavailable)?;
        // Where it is not taken, the page shows the way to the bank again.
        let _ = taken.await;
        Ok(())
    }

    fn today(&self) -> (i32, u8) {
        self.desk.shared.world.lenient_month()
    }

    fn tick(&self) -> Tick {
        self.desk.shared.world.tick()
    }
}

//! The gateways, as the saga sees them.

use async_trait::async_trait;
use hushpad_domain::attempt::Attempt;
use hushpad_domain::challenge::Challenge;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::notification::Notification;
use hushpad_gateways::{
    Asked, AskedFollowUp, Caps, FollowUp, FollowUpSubmission, Gateways, NotificationError, Order, Return,
    Reversal, Source, Submission,
};

/// Who is asked for money. The real one is [`Gateways`]; the history checker stands behind the same door.
///
/// Each call is one exchange. What is told of the bytes must be true: `NotSent` only when surely nothing was done.
#[async_trait]
pub trait Acquirer: Send + Sync {
    /// What the gateway can do; `None` when there is none of this name.
    fn caps(&self, gateway: &GatewayName) -> Option<&Caps>;
    /// Sends an attempt whose intent is committed.
    async fn submit(&self, order: &Order<'_>, source: &Source<'_>) -> Submission;
    /// Reads what a payer's browser brought back from a challenge; `None` when it is not from there.
    fn read_return(&self, attempt: &Attempt, challenge: &Challenge, came_along: &[u8]) -> Option<Return>;
    /// Goes on with an attempt whose payer is back, once that is committed.
    async fn go_on(&self, attempt: &Attempt, card: Option<&MaskedCard>, back: &Return) -> Submission;
    /// Asks what became of an attempt, by our reference.
    async fn ask(&self, attempt: &Attempt) -> Asked;
    /// Undoes an attempt without an answer, by our reference.
    async fn reverse_unknown(&self, attempt: &Attempt) -> Reversal;
    /// Sends an operation whose intent is committed.
    async fn follow_up(&self, follow_up: &FollowUp<'_>) -> FollowUpSubmission;
    /// Asks what became of an operation, by its id.
    async fn ask_follow_up(&self, follow_up: &FollowUp<'_>) -> AskedFollowUp;
    /// Reads and verifies what a gateway told unasked.
    fn notification(
        &self,
        gateway: &GatewayName,
        body: &[u8],
    ) -> Result<Vec<Notification>, NotificationError>;
}

#[async_trait]
impl Acquirer for Gateways {
    fn caps(&self, gateway: &GatewayName) -> Option<&Caps> {
        Gateways::caps(self, gateway)
    }

    async fn submit(&self, order: &Order<'_>, source: &Source<'_>) -> Submission {
        Gateways::submit(self, &order.attempt.gateway, order, source).await
    }

    fn read_return(&self, attempt: &Attempt, challenge: &Challenge, came_along: &[u8]) -> Option<Return> {
        Gateways::read_return(self, &attempt.gateway, challenge, came_along).ok()
    }

    async fn go_on(&self, attempt: &Attempt, card: Option<&MaskedCard>, back: &Return) -> Submission {
        Gateways::go_on(self, &attempt.gateway, attempt, card, back).await
    }

    async fn ask(&self, attempt: &Attempt) -> Asked {
        Gateways::ask(self, &attempt.gateway, attempt).await
    }

    async fn reverse_unknown(&self, attempt: &Attempt) -> Reversal {
        Gateways::reverse_unknown(self, &attempt.gateway, attempt).await
    }

    async fn follow_up(&self, follow_up: &FollowUp<'_>) -> FollowUpSubmission {
        Gateways::follow_up(self, &follow_up.attempt.gateway, follow_up).await
    }

    async fn ask_follow_up(&self, follow_up: &FollowUp<'_>) -> AskedFollowUp {
        Gateways::ask_follow_up(self, &follow_up.attempt.gateway, follow_up).await
    }

    fn notification(
        &self,
        gateway: &GatewayName,
        body: &[u8],
    ) -> Result<Vec<Notification>, NotificationError> {
        Gateways::notification(self, gateway, body)
    }
}

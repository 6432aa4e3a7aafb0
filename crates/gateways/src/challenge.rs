//! Going on with an attempt whose payer is back from the bank (3-D Secure).

use hushpad_domain::attempt::{Attempt, NotSent, Unknown};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::masked_card::MaskedCard;
use tokio::time::{Instant, sleep_until};

use crate::caps::Challenges;
use crate::connector::{NoReturn, Parsed, STEPS_MAX, Step};
use crate::executor::Exchange;
use crate::gateways::{Exposure, FIRST_PAUSE, Gateways, PAUSE_MAX, Route, Submission, jitter};
use crate::wire::Reply;

/// What the payer brought from the bank, as far as the gateway needs it. Not printed: the payer wrote it.
pub struct Return(Step);

impl From<Step> for Return {
    fn from(step: Step) -> Self {
        Self(step)
    }
}

impl Gateways {
    /// Reads what the payer's browser brought back from a challenge. Nothing is sent.
    ///
    /// # Errors
    /// [`NoReturn`]: it is not from there, or there is no such gateway any more.
    pub fn read_return(
        &self,
        name: &GatewayName,
        challenge: &Challenge,
        came_along: &[u8],
    ) -> Result<Return, NoReturn> {
        let route = self.route(name).ok_or(NoReturn)?;
        route.connector.after_challenge(challenge, came_along).map(Return::from)
    }

    /// Goes on with an attempt, once that is committed. `card` is the mask of the card that was typed.
    ///
    /// [`Submission::NotSent`] is said only where the gateway charges by this alone, and no byte of it was written. As
    /// for a submission, what was written is never sent again, but where it charges nothing.
    pub async fn go_on(
        &self,
        name: &GatewayName,
        attempt: &Attempt,
        card: Option<&MaskedCard>,
        back: &Return,
    ) -> Submission {
        let Some(route) = self.route(name) else { return Submission::Unknown(Unknown::Unreadable) };
        let submission = self.go_on_at(route, attempt, card, back.0.clone()).await;
        tracing::info!(attempt.id = %attempt.id, gateway = %name, outcome = submission.word(), "went on");
        submission
    }

    async fn go_on_at(
        &self,
        route: &Route,
        attempt: &Attempt,
        card: Option<&MaskedCard>,
        mut step: Step,
    ) -> Submission {
        let until = Instant::now() + route.patience.whole;
        let mut exposure = match route.connector.caps().challenge {
            Challenges::ChargedOnReturn => Exposure::None,
            Challenges::ChargedAtBank | Challenges::None => Exposure::MayBeCharged,
        };
        for _ in 0..STEPS_MAX {
            let reply = match self.run_step_after(route, &step, attempt, until, exposure).await {
                Ok(reply) => reply,
                Err(ended) => return ended,
            };
            let before = exposure;
            if route.connector.may_charge(&step) {
                exposure = Exposure::MayBeCharged;
            }
            match (route.connector.parse_go_on(&step, attempt, card, &reply), before) {
                (Parsed::Next(next), _) => step = next,
                (Parsed::Answer(answer), _) => return Submission::Answered(answer),
                (Parsed::Challenge(challenge), _) => return Submission::Challenged(challenge),
                (Parsed::Refused, Exposure::MayBeCharged) => {
                    return Submission::Unknown(Unknown::GatewayError);
                }
                (Parsed::Refused, Exposure::None) => return Submission::NotSent(NotSent::Refused),
                (Parsed::Indeterminate(reason), _) => return exposure.failed(reason),
            }
        }
        exposure.failed(Unknown::Unreadable)
    }

    async fn run_step_after(
        &self,
        route: &Route,
        step: &Step,
        attempt: &Attempt,
        until: Instant,
        before: Exposure,
    ) -> Result<Reply, Submission> {
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(request) = route.connector.go_on(step, attempt, self.now()) else {
                return Err(before.failed(Unknown::Unreadable));
            };
            let lost = match self.exchange(route, request, until).await {
                Exchange::Reply(reply) => return Ok(reply),
                Exchange::Lost(reason) if route.connector.may_charge(step) => {
                    return Err(Submission::Unknown(reason));
                }
                Exchange::Lost(reason) => reason,
                Exchange::NotWritten => Unknown::ConnectionLost,
            };
            let again = Instant::now() + pause + jitter(attempt.id.0, pause);
            if again >= until {
                return Err(before.failed(lost));
            }
            sleep_until(again).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

//! The live calls, as the domain asks for them.

use async_trait::async_trait;
use hushpad_domain::ids::{AccountId, AgentId, CallGuid};
use hushpad_domain::ports::{self, BindError, LinkCode, LiveCall, NoLiveCall, World};
use hushpad_domain::time::Timestamp;

use super::{BindRefused, Calls, Standing};
use crate::media::now_ms;
use crate::world::RealWorld;

/// The door of [`Calls`] for the other rooms.
#[expect(missing_docs, reason = "the fields are parts of the server")]
pub struct CallTable {
    pub calls: Calls,
    pub world: RealWorld,
}

impl CallTable {
    /// The wall clock's word for a moment of the calls' own clock.
    fn at(&self, at_ms: u64) -> Timestamp {
        let (now, now_ms) = (self.world.now().as_micros(), now_ms());
        let micros = |ms: u64| i64::try_from(ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let moved = if at_ms >= now_ms { micros(at_ms - now_ms) } else { -micros(now_ms - at_ms) };
        Timestamp::from_micros(now.saturating_add(moved))
    }
}

#[async_trait]
impl ports::Calls for CallTable {
    fn live_call(&self, account: &AccountId, agent: &AgentId) -> Result<CallGuid, NoLiveCall> {
        let calls = self.calls.live_calls(account.as_str(), agent.as_str());
        match calls.as_slice() {
            [] => Err(NoLiveCall::None),
            [call] => Ok(CallGuid(call.guid())),
            [_, _, ..] => Err(NoLiveCall::Several),
        }
    }

    fn calls(&self, account: &AccountId) -> Vec<LiveCall> {
        let calls = self.calls.of_account(account.as_str()).into_iter();
        let live = calls.map(|(call, standing)| LiveCall {
            guid: CallGuid(call.guid()),
            agent: call.agent().map(|agent| AgentId(agent.to_owned())),
            answered: matches!(standing, Standing::Answered { .. }),
            since: self.at(standing.since_ms()),
            caller: call.caller().map(str::to_owned),
        });
        live.collect()
    }

    async fn bind(
        &self,
        account: &AccountId,
        call: CallGuid,
        agent: &AgentId,
        only_if_free: bool,
    ) -> Result<(), BindError> {
        let call = self.calls.find(call.0).filter(|call| call.account() == account.as_str());
        let bound = call.ok_or(BindError::NoSuchCall)?.bind(agent.as_str(), only_if_free).await;
        bound.map_err(|_| BindError::NoSuchCall)?.map_err(|refused| match refused {
            BindRefused::NotAnswered => BindError::NotAnswered,
            BindRefused::Taken => BindError::OtherAgents,
        })
    }

    fn link_code(&self, account: &AccountId, agent: &AgentId) -> Option<LinkCode> {
        let issued = self.calls.link_code(account.as_str(), agent.as_str())?;
        let (code, expires_on) = (issued.code.clone(), self.at(issued.until_ms));
        let linked = Box::pin(async move { issued.linked().await.map(CallGuid) });
        Some(LinkCode { code, expires_on, linked })
    }
}

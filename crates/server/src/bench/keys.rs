//! From the key press in the customer's phone to the agent page's event, over real SIP, RTP and HTTP.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;

use super::Durations;
use crate::demo::Phones;
use crate::demo::agent_page::AgentPage;
use crate::demo::api::{Order, PaymentApi};
use crate::demo::phone::{CallState, KeyCarrier};
use crate::demo::stage::Stage;
use crate::log::Redactor;

/// Times that the field is keyed anew for each carrier.
const ROUNDS: usize = 8;
/// Keys in a round: a card number that is never complete.
const KEYS: &str = "411111111111";

pub(super) async fn run(redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<()> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let phones = Phones::start(anywhere, anywhere).await?;
    let stage = Stage::set(phones.agent.line().sip(), "http://127.0.0.1", redactor).await?;
    phones.customer.call(stage.parts.sip, &stage.parts.agent_user).await?;
    let mut state = phones.customer.line().state();
    state.wait_for(|state| *state == CallState::InCall).await.context("the customer's call")?;
    let mut page = open_page(&stage).await?;
    writeln!(out, "key press to agent page event; a tone must sound for a while before it is one")?;
    writeln!(out, "carrier            keys   p50 ms   p99 ms")?;
    for carrier in [KeyCarrier::Event, KeyCarrier::InBand, KeyCarrier::Info] {
        let durations = measure(&phones, &mut page, carrier).await?;
        writeln!(
            out,
            "{:<17}  {:>4}  {:>7.0}  {:>7.0}",
            carrier.name(),
            ROUNDS * KEYS.len(),
            durations.quantile_ms(0.5),
            durations.quantile_ms(0.99)
        )?;
    }
    stage.strike().await;
    Ok(())
}

async fn open_page(stage: &Stage) -> anyhow::Result<AgentPage> {
    let api = PaymentApi::new(&stage.parts, Arc::new(|_| {}));
    let order = Order { amount: "12.40".into(), currency: "GBP".into(), reference: "BENCH-1".into() };
    let session = api.open_session(&api.token().await?, &order).await?;
    let mut page = AgentPage::open(&session).await?;
    page.next().await?;
    Ok(page)
}

async fn measure(phones: &Phones, page: &mut AgentPage, carrier: KeyCarrier) -> anyhow::Result<Durations> {
    let mut taken_us = Vec::with_capacity(ROUNDS * KEYS.len());
    for _ in 0..ROUNDS {
        page.act(&[("action", "redo"), ("field", "card_number")]).await?;
        page.next().await?;
        for key in KEYS.chars() {
            phones.customer.press(&key.to_string(), carrier).await?;
            page.next().await?;
            let seen_ms = phones.clock.now_ms();
            let pressed =
                phones.customer.line().read(|record| record.presses.back().map(|press| press.at_ms));
            taken_us.push(seen_ms.saturating_sub(pressed.context("no press")?) * 1_000);
            phones.customer.keys_done().await;
        }
    }
    Ok(Durations::new(taken_us))
}

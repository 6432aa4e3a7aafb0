//! `hushpad demo`: the main job on one machine.
//!
//! Around a running server: two telephones ([`phone`]), an independent judge of what the agent could hear
//! ([`ear`]), a fake shop whose back end uses the Payment API ([`api`], [`shop`]), and the same story played
//! without a browser ([`story`]). Nothing here is used by `hushpad serve`.

pub mod agent_page;
pub mod api;
pub mod ear;
pub mod http;
pub mod phone;
pub mod shop;
pub mod stage;
pub mod story;

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::DemoArgs;
use crate::log::Redactor;

use self::phone::{AgentPhone, Clock, CustomerPhone};

pub use self::shop::serve_shop;
pub use self::story::{Verdict, play_once};

/// Runs the demo until Ctrl-C, or once by itself.
///
/// # Errors
/// When a part could not be started.
pub async fn run(arguments: DemoArgs, redactor: Redactor) -> anyhow::Result<ExitCode> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let phones = Phones::start(anywhere, anywhere).await.context("the demo's phones")?;
    let shop = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let stage = stage::Stage::set(phones.agent.line().sip(), &format!("http://{shop}"), redactor).await?;
    let mut out = io::stdout();
    if arguments.once {
        let verdict = play_once(stage.parts.clone(), phones, &mut out).await?;
        stage.strike().await;
        return Ok(if verdict.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let shop = serve_shop(stage.parts.clone(), phones, shop).await.context("the shop")?;
    writeln!(out, "Open {} in a browser. Ctrl-C ends the demo.", shop.url)?;
    tokio::signal::ctrl_c().await?;
    drop(shop);
    stage.strike().await;
    Ok(ExitCode::SUCCESS)
}

/// What the demo must know of the server it is played on.
#[derive(Clone)]
pub struct DemoParts {
    /// Where the Payment API is, as in `http://127.0.0.1:8080`.
    pub api_base: String,
    /// Where the agent page is: the origin the shop frames.
    pub page_base: String,
    /// Where the server takes SIP from the customer's side.
    pub sip: SocketAddr,
    /// The agent: the user the customer dials, and the `agentId` of the session.
    pub agent_user: String,
    /// The shop's API client.
    pub client_id: String,
    /// Its secret; never shown.
    pub client_secret: String,
    /// Which account configuration to pay with.
    pub account_configuration: u32,
}

impl fmt::Debug for DemoParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoParts")
            .field("api_base", &self.api_base)
            .field("page_base", &self.page_base)
            .field("sip", &self.sip)
            .field("agent_user", &self.agent_user)
            .field("client_id", &self.client_id)
            .field("account_configuration", &self.account_configuration)
            .finish_non_exhaustive()
    }
}

/// Both telephones, on one clock.
#[derive(Debug)]
pub struct Phones {
    /// The customer's.
    pub customer: CustomerPhone,
    /// The agent's; its address belongs in the server's configuration.
    pub agent: AgentPhone,
    /// What their recordings are timed by.
    pub clock: Clock,
}

impl Phones {
    /// Switches both phones on (port 0 picks one).
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(customer: SocketAddr, agent: SocketAddr) -> io::Result<Self> {
        let clock = Clock::start();
        let agent = AgentPhone::start(agent, clock).await?;
        Ok(Self { customer: CustomerPhone::start(customer, clock).await?, agent, clock })
    }
}

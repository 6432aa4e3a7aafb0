//! The telephone side alone, for load tools: calls to `agent…` at 127.0.0.1:5060 go to 127.0.0.1:5070.
//!
//! `cargo run --release --example bridge -- [calls] [secure]`: with `secure` every call is secured as soon as
//! it is answered, and its keys are thrown away.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hushpad::calls::{Calls, CallsConfig, Dialled, Route, RouteRefused, Routes};
use hushpad::media::{MediaConfig, MediaPlane};
use hushpad::sip::{LOG_TARGET, Listener, Peer, PeerKind, Transport};
use hushpad_telephony::call::Wish;
use hushpad_telephony::guard::GuardConfig;
use hushpad_telephony::key_queue::KeyQueue;
use tracing_subscriber::EnvFilter;

struct LoadTool;

impl Routes for LoadTool {
    fn route(&self, dialled: &Dialled<'_>) -> Result<Route, RouteRefused> {
        if !dialled.user.starts_with("agent") {
            return Err(RouteRefused);
        }
        Ok(Route::to_agent("load", "agent", "sip:agent@127.0.0.1:5070".to_owned()))
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new(format!("warn,{LOG_TARGET}=warn"))).init();
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let max_calls = std::env::args().nth(1).and_then(|calls| calls.parse().ok()).unwrap_or(500);
    let config = CallsConfig {
        listeners: vec![Listener { transport: Transport::Udp, bind: (loopback, 5060).into() }],
        peers: vec![Peer {
            name: "loopback".to_owned(),
            networks: vec![loopback.into()],
            kind: PeerKind::Pbx,
            nat: false,
            srtp: Wish::Off,
        }],
        max_calls,
        ..CallsConfig::default()
    };
    let media = MediaPlane::start(MediaConfig {
        bind_address: loopback,
        advertised_address: loopback,
        port_min: 20_000,
        port_max: 29_999,
        workers: 1,
        guard: GuardConfig::default(),
    })?;
    let calls = Calls::start(config, Arc::new(LoadTool), media).await?;
    if std::env::args().any(|word| word == "secure") {
        tokio::spawn(secure_all(calls.clone()));
    }
    tokio::signal::ctrl_c().await?;
    calls.shut_down().await;
    Ok(())
}

/// Secures every new call; a load tool does not wait to be asked.
async fn secure_all(calls: Calls) {
    let mut known = std::collections::HashMap::new();
    loop {
        for call in calls.live_calls("load", "agent") {
            if known.contains_key(&call.guid()) {
                continue;
            }
            let keys = Arc::new(KeyQueue::new());
            if call.secure(Arc::clone(&keys)).await.is_ok() {
                known.insert(call.guid(), keys);
            }
        }
        known.retain(|_, keys| {
            while keys.pop().is_some() {}
            !keys.is_closed()
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

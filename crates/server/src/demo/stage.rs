//! The stage of the demo: a whole Hushpad on loopback, with a sandbox gateway and one API client.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, UdpSocket};

use anyhow::Context;
use hushpad_domain::ids::AccountId;
use hushpad_gateways::sandbox::{self, Ledger};
use hushpad_store::Ownership;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::DemoParts;
use crate::clients;
use crate::config::{Config, SAMPLE_MASTER_KEY};
use crate::log::Redactor;
use crate::serve::{self, Running};
use crate::world::this_month;

/// The agent of the demo.
const AGENT: &str = "agent1234";
/// The account of the demo.
pub const ACCOUNT: &str = "demo";
/// The configuration whose sessions need a call.
pub const CALL_CONFIGURATION: u32 = 0;
/// The configuration that is marked as test.
pub const TEST_CONFIGURATION: u32 = 1;

/// A webhook for the configuration that is marked as test; on loopback, without TLS.
pub struct Webhook {
    /// Where to.
    pub url: String,
    /// `whsec_…`
    pub secret: String,
}

/// What not every stage has.
#[derive(Default)]
pub struct Extras {
    /// Where results are pushed to.
    pub webhook: Option<Webhook>,
    /// An empty PostgreSQL database in place of a file.
    pub postgres_url: Option<String>,
}

/// A running Hushpad with a throw-away store.
pub struct Stage {
    /// What the shop must know.
    pub parts: DemoParts,
    running: Running,
    gateway: JoinHandle<()>,
    /// Removed when the stage is struck.
    _folder: TempDir,
}

impl Stage {
    /// Sets the stage. `agent_phone` is where the agent's phone listens, `shop_origin` who may frame the page.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn set(agent_phone: SocketAddr, shop_origin: &str, redactor: Redactor) -> anyhow::Result<Self> {
        Self::set_with(agent_phone, shop_origin, redactor, Extras::default(), async |_| Ok(())).await
    }

    /// The same with more; `prepare` may fill the store before anything starts.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn set_with(
        agent_phone: SocketAddr,
        shop_origin: &str,
        redactor: Redactor,
        extras: Extras,
        prepare: impl AsyncFnOnce(&Config) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hushpad-demo-").tempdir()?;
        let key = folder.path().join("master.key");
        std::fs::write(&key, SAMPLE_MASTER_KEY)?;
        let password = folder.path().join("gateway.password");
        std::fs::write(&password, sandbox::PASSWORD)?;
        let gateway_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let gateway_address = gateway_listener.local_addr()?;
        let addresses = Addresses::free()?;
        let store = match extras.postgres_url {
            None => format!("path = \"{}\"", folder.path().join("hushpad.db").display()),
            Some(url) => {
                let file = folder.path().join("postgres.url");
                std::fs::write(&file, url)?;
                format!(
                    "postgres_url.file = \"{}\"\nresult_keys = \"{}-keys\"",
                    file.display(),
                    file.display()
                )
            }
        };
        let mut text = config_text(&folder, &addresses, (gateway_address, &store), agent_phone, shop_origin);
        if let Some(Webhook { url, secret }) = extras.webhook {
            let file = folder.path().join("webhook.secret");
            std::fs::write(&file, secret)?;
            let file = file.display();
            text.push_str(&format!(
                "webhook = {{ url = \"{url}\", secrets = [{{ file = \"{file}\" }}], allow_http = true, allow_private = true }}\n"
            ));
        }
        let config = Config::parse(&text).context("the demo's own config")?;
        prepare(&config).await?;
        let new = {
            let store = hushpad_store::open(&config.store_url, Ownership::Guest).await?;
            let account = AccountId(ACCOUNT.to_owned());
            let new = clients::create(&store, &config.master_key, account, None, "demo shop".into()).await?;
            store.close().await;
            new
        };
        let gateway = tokio::spawn(sandbox::serve(
            gateway_listener,
            Ledger::in_memory(this_month),
            std::future::pending::<()>(),
        ));
        let running = serve::start(config, redactor).await?;
        let parts = DemoParts {
            api_base: format!("http://{}", addresses.api),
            page_base: format!("http://{}", addresses.page),
            sip: addresses.sip,
            agent_user: AGENT.to_owned(),
            client_id: new.id.to_string(),
            client_secret: new.secret,
            account_configuration: CALL_CONFIGURATION,
        };
        Ok(Self { parts, running, gateway, _folder: folder })
    }

    /// Ends everything in order.
    pub async fn strike(self) {
        self.running.shut_down().await;
        self.gateway.abort();
    }
}

/// Free addresses on loopback, found by binding and letting go.
struct Addresses {
    api: SocketAddr,
    page: SocketAddr,
    admin: SocketAddr,
    sip: SocketAddr,
}

impl Addresses {
    fn free() -> std::io::Result<Self> {
        // All are held until all are found, so that no two are the same.
        let tcp = [(); 3].map(|()| StdListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let [api, page, admin] = tcp.map(|listener| listener?.local_addr());
        let sip = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        Ok(Self { api: api?, page: page?, admin: admin?, sip })
    }
}

fn config_text(
    folder: &TempDir,
    addresses: &Addresses,
    (gateway, store): (SocketAddr, &str),
    agent_phone: SocketAddr,
    shop_origin: &str,
) -> String {
    let Addresses { api, page, admin, sip } = addresses;
    let folder = folder.path().display();
    let user = sandbox::USER;
    format!(
        r#"
test_mode = true
secrets.master_key.file = "{folder}/master.key"
api = {{ listen = "{api}", public_url = "http://{api}" }}
page = {{ listen = "{page}", public_url = "http://{page}" }}
admin.listen = "{admin}"
store.{store}
limits = {{ client_burst = 1000000, client_requests_per_s = 1000000, max_sessions = 1000000 }}

[sip]
listen = ["udp:{sip}"]
advertised_address = "127.0.0.1"
peers = [{{ name = "loopback", networks = ["127.0.0.0/8"] }}]

[media]
bind_address = "127.0.0.1"

[[gateways]]
name = "sandbox"
kind = "generic"
url = "http://{gateway}/charges"
query_url = "http://{gateway}/charges"
user = "{user}"
password.file = "{folder}/gateway.password"

[[accounts]]
id = "{ACCOUNT}"
agents = [{{ id = "{AGENT}", phone = "sip:{AGENT}@{agent_phone}" }}]

[[accounts.configurations]]
id = {CALL_CONFIGURATION}
gateway = "sandbox"
allowed_origins = ["{shop_origin}"]

[[accounts.configurations]]
id = {TEST_CONFIGURATION}
gateway = "sandbox"
test = true
allowed_origins = ["{shop_origin}"]
"#
    )
}

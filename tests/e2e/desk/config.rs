//! The product's config file at a desk.

use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use hushpad_gateways::sandbox;

use crate::database::Database;
use crate::receiver::SECRET;

use super::{AGENT, Addresses, CONFIGURATION, DIGITAL_CONFIGURATION, IDLE_AGENT, TEST_CONFIGURATION};

/// What not every desk has.
#[derive(Default)]
pub(super) struct Extras<'a> {
    /// More agents: their ids, and their phones' SIP addresses.
    pub(super) agents: &'a [(String, String)],
    /// Whether calls to 1234 reach the agent's phone by a trunk, as nobody's. The agent is called at 4321 then.
    pub(super) trunk: bool,
    /// Whether the phones are behind a NAT.
    pub(super) nat: bool,
    /// A PostgreSQL server in place of a file.
    pub(super) database: Option<&'a Database>,
}

/// Writes it.
pub(super) fn write(
    at: &Addresses,
    relay: &Range<u16>,
    agent_phone: &str,
    extras: &Extras<'_>,
    directory: &Path,
) {
    let Addresses { api, page, payer, connector, admin, gateway, sip, shop, receiver, notifications } = at;
    let (first, last) = (relay.start, relay.end - 1);
    let (store, shop) = (store(extras.database, directory), shop.port());
    let webhook = webhook(receiver, directory);
    let (more_gateways, more_configurations) =
        (more_gateways(gateway, directory), more_configurations(shop, &webhook));
    let nat = extras.nat;
    let at_the_phone = agent_phone.split('@').nth(1).unwrap();
    let route = format!(
        "[[sip.routes]]\naccount = \"shop\"\nprefix = \"1234\"\nnext_hop = \"sip:{{user}}@{at_the_phone}\"\n"
    );
    let (user, route) = if extras.trunk { ("4321", route) } else { ("1234", String::new()) };
    let connector_users: String =
        ["generic", "cybersource", "stripe"].iter().zip(10..).map(connector_user).collect();
    let more_agents: String = extras.agents.iter().map(agent).collect();
    let shops = [more_agents, configurations(shop, &webhook), more_configurations].concat();
    let accounts = accounts(receiver, user, agent_phone, &shops);
    let text = format!(
        r#"
test_mode = true
[secrets]
master_key = {{ env = "HUSHPAD_MASTER_KEY" }}
[api]
listen = "{api}"
public_url = "http://{api}"
[page]
listen = "{page}"
public_url = "http://{page}"
[payer]
listen = "{payer}"
public_url = "http://{payer}"
[pay_connector]
listen = "{connector}"
patience_s = 3
{connector_users}[admin]
listen = "{admin}"
[notifications]
listen = "{notifications}"
[store]
{store}
[sip]
listen = ["udp:{sip}"]
advertised_address = "127.0.0.1"
[[sip.peers]]
name = "phones"
networks = ["127.0.0.1/32"]
nat = {nat}
{route}[media]
bind_address = "127.0.0.1"
advertised_address = "127.0.0.1"
port_min = {first}
port_max = {last}
[[gateways]]
name = "sandbox"
kind = "generic"
url = "http://{gateway}/charges"
query_url = "http://{gateway}/charges"
user = "sandbox"
password = {{ env = "HUSHPAD_SANDBOX_PASSWORD" }}
{more_gateways}{accounts}"#
    );
    fs::write(directory.join("hushpad.toml"), text).unwrap();
}

/// The shop with its agents and configurations, and the market.
fn accounts(receiver: &SocketAddr, user: &str, agent_phone: &str, agents_and_configurations: &str) -> String {
    format!(
        r#"[[accounts]]
id = "shop"
payee = "The Lovelace Shop"
sms = {{ url = "http://{receiver}/sms", allow_http = true, allow_private = true, json = '{{"sessionGuid":"sms","to":"{{to}}","text":"{{text}}"}}' }}
default_configuration = {CONFIGURATION}
[[accounts.agents]]
id = "{AGENT}"
user = "{user}"
phone = "{agent_phone}"
[[accounts.agents]]
id = "{IDLE_AGENT}"
user = "5678"
phone = "sip:5678@127.0.0.1:9"
{agents_and_configurations}[[accounts]]
id = "market"
[[accounts.configurations]]
id = 0
gateway = "generic"
"#
    )
}

/// The configurations that every desk has.
fn configurations(shop: u16, webhook: &str) -> String {
    let shops =
        format!("gateway = \"sandbox\"\nallowed_origins = [\"http://localhost:{shop}\"]\n{webhook}\n");
    [
        (CONFIGURATION, "agent_assist", false),
        (TEST_CONFIGURATION, "agent_assist", true),
        (DIGITAL_CONFIGURATION, "digital", false),
    ]
    .map(|(id, kind, test)| {
        format!("[[accounts.configurations]]\nid = {id}\nkind = \"{kind}\"\ntest = {test}\n{shops}")
    })
    .concat()
}

/// The same simulator by the words of four gateways, with all that each can do.
fn more_gateways(gateway: &SocketAddr, directory: &Path) -> String {
    let secret = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        format!("{{ file = \"{}\" }}", path.display())
    };
    let cybersource = secret("cybersource.secret", "aHVzaHBhZC1zYW5kYm94LXNoYXJlZC1zZWNyZXQtMzI=");
    let stripe = secret("stripe.secret", "sk_test_sandbox");
    let adyen = secret("adyen.secret", sandbox::ADYEN_API_KEY);
    let hmac_key = secret("adyen.hmac", sandbox::ADYEN_HMAC_KEY);
    let merchant = sandbox::ADYEN_MERCHANT;
    format!(
        r#"[[gateways]]
name = "generic"
kind = "generic"
url = "http://{gateway}/charges"
operations_url = "http://{gateway}/charges"
query_url = "http://{gateway}/charges"
user = "sandbox"
password = {{ env = "HUSHPAD_SANDBOX_PASSWORD" }}
time_out_s = 10
settle_time_s = 10
[[gateways]]
name = "cybersource"
kind = "cybersource"
url = "http://{gateway}"
merchant_id = "sandbox_merchant"
key_id = "sandbox-key"
secret = {cybersource}
[[gateways]]
name = "stripe"
kind = "stripe"
url = "http://{gateway}"
secret = {stripe}
time_out_s = 10
settle_time_s = 10
[[gateways]]
name = "adyen"
kind = "adyen"
url = "http://{gateway}/v72"
merchant_account = "{merchant}"
secret = {adyen}
hmac_key = {hmac_key}
"#
    )
}

/// Configurations of them with the test keypad: 10 to 13 sell, 20 to 23 authorise, 30 to 33 keep the card.
fn more_configurations(shop: u16, webhook: &str) -> String {
    let names = ["generic", "cybersource", "stripe", "adyen"];
    let one = |(at, (first, purpose)): (usize, (usize, &str))| {
        let (id, gateway) = (first + at, names[at]);
        format!(
            "[[accounts.configurations]]\nid = {id}\ngateway = \"{gateway}\"\npurpose = \"{purpose}\"\ntest = true\n\
             allowed_origins = [\"http://localhost:{shop}\"]\n{webhook}\n"
        )
    };
    let kinds = [(10, "sale"), (20, "authorise"), (30, "tokenise")];
    kinds.into_iter().flat_map(|kind| (0..names.len()).map(move |at| (at, kind))).map(one).collect()
}

/// Where sessions are kept.
fn store(database: Option<&Database>, directory: &Path) -> String {
    let data = directory.join("data");
    fs::create_dir_all(&data).unwrap();
    let Some(database) = database else { return format!("path = \"{}\"", data.join("hushpad.db").display()) };
    let url = directory.join("postgres.url");
    fs::write(&url, database.url()).unwrap();
    let keys = data.join("result-keys");
    format!("postgres_url = {{ file = \"{}\" }}\nresult_keys = \"{}\"", url.display(), keys.display())
}

/// A user of the pay connector, called as its gateway.
fn connector_user((user, configuration): (&&str, u32)) -> String {
    format!(
        "[[pay_connector.users]]\nuser = \"{user}\"\npassword = {{ env = \"HUSHPAD_SANDBOX_PASSWORD\" }}\n\
         account = \"shop\"\nconfiguration = {configuration}\n"
    )
}

/// One more agent: id, and the phone's SIP address.
fn agent((id, phone): &(String, String)) -> String {
    let user = phone.trim_start_matches("sip:").split('@').next().unwrap();
    format!("[[accounts.agents]]\nid = \"{id}\"\nuser = \"{user}\"\nphone = \"{phone}\"\n")
}

/// A configuration's webhook: to the back end of this desk, on loopback and without TLS.
fn webhook(receiver: &SocketAddr, directory: &Path) -> String {
    let secret = directory.join("webhook.secret");
    fs::write(&secret, SECRET).unwrap();
    format!(
        r#"webhook = {{ url = "http://{receiver}/", secrets = [{{ file = "{}" }}], allow_http = true, allow_private = true }}"#,
        secret.display()
    )
}

//! The config file as it is written. Types here mirror the TOML; meaning is checked in `check.rs`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) test_mode: bool,
    pub(super) secrets: Secrets,
    pub(super) api: ApiListener,
    pub(super) page: Listener,
    pub(super) payer: Option<Listener>,
    pub(super) admin: Admin,
    /// Where gateways tell unasked.
    pub(super) notifications: Option<Admin>,
    pub(super) store: Store,
    pub(super) sip: Sip,
    pub(super) media: Media,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) gateways: Vec<Gateway>,
    #[serde(default)]
    pub(super) accounts: Vec<Account>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secrets {
    pub(super) master_key: SecretRef,
}

/// Where a secret is. Never the secret itself.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretRef {
    pub(super) file: Option<PathBuf>,
    pub(super) env: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiListener {
    pub(super) listen: SocketAddr,
    pub(super) public_url: String,
    #[serde(default)]
    pub(super) browser_origins: Vec<String>,
    pub(super) certificates: Option<CertificateListener>,
}

/// The same API for clients that show a certificate. PEM files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateListener {
    pub(super) listen: SocketAddr,
    pub(super) public_url: String,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) authorities: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) listen: SocketAddr,
    pub(super) public_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) path: Option<PathBuf>,
    pub(super) postgres_url: Option<SecretRef>,
    pub(super) result_keys: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sip {
    pub(super) listen: Vec<String>,
    pub(super) advertised_address: IpAddr,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) sdes_without_tls: bool,
    #[serde(default = "max_calls")]
    pub(super) max_calls: usize,
    #[serde(default = "ring_time_out_s")]
    pub(super) ring_time_out_s: u64,
    #[serde(default = "max_call_duration_s")]
    pub(super) max_call_duration_s: u64,
    #[serde(default)]
    pub(super) peers: Vec<Peer>,
    #[serde(default)]
    pub(super) routes: Vec<SipRoute>,
}

/// Where calls go on to that are dialled for nobody's agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SipRoute {
    pub(super) account: String,
    pub(super) from: Option<String>,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) next_hop: String,
    #[serde(default)]
    pub(super) customer: CustomerSide,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CustomerSide {
    #[default]
    Caller,
    Callee,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) networks: Vec<String>,
    #[serde(default)]
    pub(super) nat: bool,
    #[serde(default)]
    pub(super) srtp: Srtp,
    pub(super) login: Option<Login>,
}

/// Whether media is sealed.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Srtp {
    #[default]
    Off,
    Optional,
    Required,
}

/// PEM files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) authorities: Option<PathBuf>,
}

/// What a peer must know before it may call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: SecretRef,
    #[serde(default)]
    pub(super) hashes: Hashes,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) enum Hashes {
    #[default]
    #[serde(rename = "both")]
    Both,
    #[serde(rename = "sha-256")]
    Sha256,
    #[serde(rename = "md5")]
    Md5,
}

/// What we say when a phone or the system before it challenges us.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credential {
    pub(super) user: String,
    pub(super) password: SecretRef,
    pub(super) realm: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Media {
    pub(super) bind_address: IpAddr,
    pub(super) advertised_address: Option<IpAddr>,
    #[serde(default = "port_min")]
    pub(super) port_min: u16,
    #[serde(default = "port_max")]
    pub(super) port_max: u16,
    #[serde(default = "workers")]
    pub(super) workers: usize,
    #[serde(default = "look_back_ms")]
    pub(super) look_back_ms: u16,
    #[serde(default)]
    pub(super) fill: Fill,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) client_burst: u32,
    pub(super) client_requests_per_s: u32,
    pub(super) max_sessions: usize,
}

impl Default for Limits {
    /// A back end that asks once a second for each of 200 agents stays below. More sessions at one time than
    /// 10,000 are an attack or a fault.
    fn default() -> Self {
        Self { client_burst: 1_000, client_requests_per_s: 200, max_sessions: 10_000 }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Fill {
    #[default]
    Silence,
    ComfortNoise,
    Beep,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) name: String,
    pub(super) kind: GatewayKind,
    pub(super) url: String,
    pub(super) operations_url: Option<String>,
    pub(super) query_url: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretRef>,
    pub(super) merchant_id: Option<String>,
    pub(super) key_id: Option<String>,
    #[serde(default)]
    pub(super) auth: hushpad_gateways::CyberSourceAuth,
    pub(super) merchant_account: Option<String>,
    pub(super) hmac_key: Option<SecretRef>,
    pub(super) entity: Option<String>,
    pub(super) narrative: Option<String>,
    pub(super) secret: Option<SecretRef>,
    #[serde(default = "time_out_s")]
    pub(super) time_out_s: u64,
    #[serde(default = "settle_time_s")]
    pub(super) settle_time_s: u64,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GatewayKind {
    Generic,
    Cybersource,
    Stripe,
    Adyen,
    Worldpay,
    Mpgs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub(super) id: String,
    pub(super) payee: Option<String>,
    #[serde(default)]
    pub(super) default_configuration: u32,
    pub(super) default_phone: Option<String>,
    #[serde(default)]
    pub(super) show_callers: bool,
    pub(super) recorder: Option<Recorder>,
    pub(super) sms: Option<Sms>,
    pub(super) mail: Option<Mail>,
    pub(super) credential: Option<Credential>,
    #[serde(default)]
    pub(super) agents: Vec<Agent>,
    #[serde(default)]
    pub(super) configurations: Vec<Configuration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) id: String,
    pub(super) user: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) srtp: Option<Srtp>,
    pub(super) credential: Option<Credential>,
}

/// What sessions a configuration is for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    AgentAssist,
    Digital,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Purpose {
    #[default]
    Sale,
    Authorise,
    Tokenise,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnMismatch {
    Accept,
    Reverse,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Configuration {
    pub(super) id: u32,
    #[serde(default)]
    pub(super) kind: Kind,
    #[serde(default = "link_life_h")]
    pub(super) link_life_h: u64,
    pub(super) gateway: Option<String>,
    #[serde(default)]
    pub(super) gateways: Vec<String>,
    #[serde(default)]
    pub(super) purpose: Purpose,
    #[serde(default)]
    pub(super) split: bool,
    #[serde(default)]
    pub(super) keep_card: bool,
    pub(super) on_address_mismatch: Option<OnMismatch>,
    pub(super) on_security_code_mismatch: Option<OnMismatch>,
    #[serde(default)]
    pub(super) test: bool,
    #[serde(default)]
    pub(super) allowed_origins: Vec<String>,
    pub(super) webhook: Option<Webhook>,
    #[serde(default = "fields")]
    pub(super) fields: Vec<String>,
    #[serde(default = "brands")]
    pub(super) brands: Vec<String>,
    #[serde(default = "first_key_time_out_s")]
    pub(super) first_key_time_out_s: u64,
    #[serde(default = "between_keys_time_out_s")]
    pub(super) between_keys_time_out_s: u64,
    #[serde(default = "session_time_out_s")]
    pub(super) session_time_out_s: u64,
    #[serde(default)]
    pub(super) data: Vec<DataRule>,
    #[serde(default)]
    pub(super) other_data: OtherData,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataRule {
    pub(super) name: String,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default = "format")]
    pub(super) format: String,
    #[serde(default = "max_chars")]
    pub(super) max_chars: usize,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherData {
    #[default]
    Pass,
    Refuse,
}

fn format() -> String {
    "text".into()
}
fn max_chars() -> usize {
    hushpad_domain::payment_data::VALUE_CHARS_MAX
}

/// Where results are pushed to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) secrets: Vec<SecretRef>,
    pub(super) oauth: Option<Oauth>,
    #[serde(default)]
    pub(super) allow_http: bool,
    #[serde(default)]
    pub(super) allow_private: bool,
    pub(super) authorities: Option<PathBuf>,
}

/// Whom to tell that recording is to pause.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recorder {
    pub(super) url: String,
    #[serde(default)]
    pub(super) secrets: Vec<SecretRef>,
    #[serde(default)]
    pub(super) allow_http: bool,
    #[serde(default)]
    pub(super) allow_private: bool,
    pub(super) authorities: Option<PathBuf>,
}

/// How payment links are sent by text message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sms {
    pub(super) url: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretRef>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, SecretRef>,
    pub(super) form: Option<BTreeMap<String, String>>,
    pub(super) json: Option<String>,
    #[serde(default = "link_text")]
    pub(super) text: String,
    pub(super) taken_if: Option<TakenIf>,
    #[serde(default)]
    pub(super) allow_http: bool,
    #[serde(default)]
    pub(super) allow_private: bool,
    pub(super) authorities: Option<PathBuf>,
}

/// What of a provider's reply says that it has a message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakenIf {
    pub(super) pointer: String,
    pub(super) equals: String,
}

/// How payment links are sent by e-mail.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mail {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    #[serde(default)]
    pub(super) security: MailSecurity,
    pub(super) user: Option<String>,
    pub(super) password: Option<SecretRef>,
    pub(super) from: String,
    #[serde(default = "link_subject")]
    pub(super) subject: String,
    #[serde(default = "link_text")]
    pub(super) text: String,
    #[serde(default)]
    pub(super) allow_private: bool,
    pub(super) authorities: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MailSecurity {
    #[default]
    Tls,
    Starttls,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oauth {
    pub(super) token_url: String,
    pub(super) client_id: String,
    pub(super) client_secret: SecretRef,
    pub(super) scope: Option<String>,
}

/// As long as a link may live at all.
fn link_life_h() -> u64 {
    72
}
fn link_text() -> String {
    "{payee} asks you to pay {amount}. Pay here: {link}".into()
}
fn link_subject() -> String {
    "{payee}: {amount} to pay".into()
}
fn max_calls() -> usize {
    500
}
fn ring_time_out_s() -> u64 {
    60
}
/// Longer than any call that is still a conversation.
fn max_call_duration_s() -> u64 {
    4 * 3600
}
/// An agent and a customer wait for it.
fn time_out_s() -> u64 {
    20
}
/// Three times the time-out: what was still on its way has arrived or is lost.
fn settle_time_s() -> u64 {
    60
}
fn port_min() -> u16 {
    20_000
}
fn port_max() -> u16 {
    29_999
}
fn workers() -> usize {
    1
}
fn look_back_ms() -> u16 {
    40
}
fn fields() -> Vec<String> {
    vec!["card_number".into(), "expiry".into(), "security_code".into()]
}
fn brands() -> Vec<String> {
    vec!["visa".into(), "mastercard".into(), "amex".into()]
}
fn first_key_time_out_s() -> u64 {
    60
}
fn between_keys_time_out_s() -> u64 {
    20
}
fn session_time_out_s() -> u64 {
    15 * 60
}

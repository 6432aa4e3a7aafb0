//! From the file's words to final types. Collects every mistake before it gives up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::acceptance::{Acceptance, OnMismatch};
use hushpad_domain::account::{Account, AccountConfiguration, Directory, PaymentFlow};
use hushpad_domain::attempt::Purpose;
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AccountId, AgentId, ConfigurationId, GatewayName};
use hushpad_domain::masked_card::Brand;
use hushpad_telephony::call::{Leg, Wish};
use hushpad_telephony::guard::{Fill, GuardConfig};
use hushpad_web::WebLimits;
use zeroize::Zeroizing;

use super::field_map::field_map;
use super::gateways::gateways;
use super::links;
use super::recorders::{recorders, sip_recorders};
use super::routes::{RouteTable, Trunk};
use super::senders::senders;
use super::webhooks::webhooks;
use super::{CertificateListener, Config, ConfigMistakes, HttpListener, raw, secret};
use crate::calls::{CallsConfig, Route};
use crate::http::ClientCertificates;
use crate::media::MediaConfig;
use crate::sip::{Credential, Hashes, Listener, Login, Network, Peer, PeerKind, Tls, Transport};

/// The look-back that the guard can work with: below, tones leak; above, the delay disturbs the talk.
const LOOK_BACK_MS: std::ops::RangeInclusive<u16> = 40..=120;

pub(super) fn check(raw: raw::Raw) -> Result<Config, ConfigMistakes> {
    let mut mistakes = Mistakes(Vec::new());
    let master_key =
        mistakes.take("secrets.master_key", secret::read_key(&raw.secrets.master_key, raw.test_mode));
    let store_url = store_url(&mut mistakes, &raw.store);
    let result_keys = result_keys(&mut mistakes, &raw.store);
    let api = listener(&mut mistakes, "api", raw.api.listen, &raw.api.public_url);
    origins(&mut mistakes, "api.browser_origins", &raw.api.browser_origins);
    let api_certificates = raw.api.certificates.as_ref().map(|raw| certificates(&mut mistakes, raw));
    let page = listener(&mut mistakes, "page", raw.page.listen, &raw.page.public_url);
    let payer = links::payer(&mut mistakes, &raw);
    let mut calls = calls(&mut mistakes, &raw.sip);
    calls.recorders.by_account = sip_recorders(&mut mistakes, &raw.accounts, &calls.peers);
    let media = media(&mut mistakes, &raw.media);
    let web_limits = web_limits(&mut mistakes, &raw.limits);
    let gateways = gateways(&mut mistakes, &raw.gateways, raw.test_mode);
    let (accounts, mut routes) = accounts(&mut mistakes, &raw);
    add_trunks(&mut mistakes, &raw, &mut routes);
    let webhooks = webhooks(&mut mistakes, &raw.accounts);
    let recorders = recorders(&mut mistakes, &raw.accounts);
    let senders = senders(&mut mistakes, &raw.accounts);
    match (master_key, mistakes.0.is_empty()) {
        (Some(master_key), true) => Ok(Config {
            test_mode: raw.test_mode,
            master_key,
            api,
            api_certificates: api_certificates.flatten(),
            browser_origins: raw.api.browser_origins.clone(),
            page,
            payer,
            admin: raw.admin.listen,
            notifications: raw.notifications.as_ref().map(|raw| raw.listen),
            store_url,
            result_keys,
            calls,
            web_limits,
            max_sessions: raw.limits.max_sessions,
            media,
            gateways,
            directory: Directory::new(accounts),
            routes,
            webhooks,
            recorders,
            senders,
        }),
        _ => Err(ConfigMistakes(mistakes.0)),
    }
}

/// What is wrong so far, each with its path.
pub(super) struct Mistakes(Vec<(String, String)>);

impl Mistakes {
    pub(super) fn add(&mut self, path: &str, problem: impl Into<String>) {
        self.0.push((path.to_owned(), problem.into()));
    }

    pub(super) fn take<T>(&mut self, path: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|problem| self.add(path, problem)).ok()
    }
}

fn store_url(mistakes: &mut Mistakes, raw: &raw::Store) -> Zeroizing<String> {
    match (&raw.path, &raw.postgres_url) {
        (Some(path), None) => Zeroizing::new(format!("sqlite:{}", path.display())),
        (None, Some(reference)) => {
            let url = mistakes.take("store.postgres_url", secret::read(reference)).unwrap_or_default();
            if !url.is_empty() && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
                mistakes.add("store.postgres_url", "must begin with postgres://");
            }
            url
        }
        (Some(_), Some(_)) | (None, None) => {
            mistakes.add("store", "must have path (SQLite) or postgres_url, one of the two");
            Zeroizing::default()
        }
    }
}

/// Beside SQLite's file unless said otherwise; a database has no beside.
fn result_keys(mistakes: &mut Mistakes, raw: &raw::Store) -> PathBuf {
    match (&raw.result_keys, &raw.path) {
        (Some(keys), _) => {
            if raw.path.as_ref() == Some(keys) {
                mistakes.add("store.result_keys", "must be another file than path");
            }
            keys.clone()
        }
        (None, Some(path)) => {
            let mut keys = path.clone().into_os_string();
            keys.push("-keys");
            PathBuf::from(keys)
        }
        (None, None) => {
            mistakes.add(
                "store.result_keys",
                "must be there with postgres_url: a file of its own on this machine, such as \
                 \"/var/lib/hushpad/result-keys\", that no backup takes",
            );
            PathBuf::new()
        }
    }
}

pub(super) fn listener(
    mistakes: &mut Mistakes,
    path: &str,
    listen: SocketAddr,
    public_url: &str,
) -> HttpListener {
    if !is_origin(public_url) {
        mistakes.add(
            &format!("{path}.public_url"),
            "must be scheme://host or scheme://host:port, such as \"https://pay.example.com\"",
        );
    }
    HttpListener { listen, public_url: public_url.to_owned() }
}

/// The listener for clients with certificates.
fn certificates(mistakes: &mut Mistakes, raw: &raw::CertificateListener) -> Option<CertificateListener> {
    let http = listener(mistakes, "api.certificates", raw.listen, &raw.public_url);
    let loaded = ClientCertificates::load(&raw.certificate, &raw.key, raw.authorities.as_deref());
    let certificates = mistakes.take("api.certificates", loaded)?;
    Some(CertificateListener { http, certificates: Arc::new(certificates) })
}

/// `http(s)://host[:port]`, in small letters, nothing after it.
fn origins(mistakes: &mut Mistakes, path: &str, list: &[String]) {
    for (n, origin) in list.iter().enumerate() {
        if !is_origin(origin) {
            mistakes.add(
                &format!("{path}[{n}]"),
                "must be an origin, such as \"https://shop.example.com\": no path, no slash at the end",
            );
        }
    }
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host_characters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
        !rest.is_empty() && rest.chars().all(host_characters)
    })
}

fn calls(mistakes: &mut Mistakes, raw: &raw::Sip) -> CallsConfig {
    let listeners = raw.listen.iter().enumerate().filter_map(|(index, text)| {
        let listener = text.split_once(':').and_then(|(transport, address)| {
            let transport = match transport {
                "udp" => Transport::Udp,
                "tcp" => Transport::Tcp,
                "tls" => Transport::Tls,
                _ => return None,
            };
            Some(Listener { transport, bind: address.parse().ok()? })
        });
        let wrong = "must be a transport and an address, such as \"udp:0.0.0.0:5060\"".to_owned();
        mistakes.take(&format!("sip.listen[{index}]"), listener.ok_or(wrong))
    });
    let listeners: Vec<_> = listeners.collect();
    if raw.listen.is_empty() {
        mistakes.add("sip.listen", "must name at least one listener, such as \"udp:0.0.0.0:5060\"");
    }
    if raw.advertised_address.is_unspecified() {
        mistakes.add("sip.advertised_address", "must be the address that peers reach us by, not 0.0.0.0");
    }
    if raw.max_calls == 0 {
        mistakes.add("sip.max_calls", "must be at least 1");
    }
    let tls = raw.tls.as_ref().and_then(|raw| tls(mistakes, raw));
    if tls.is_none() && listeners.iter().any(|listener| listener.transport == Transport::Tls) {
        mistakes.add("sip.tls", "must name certificate and key for a tls listener");
    }
    for (index, peer) in raw.peers.iter().enumerate() {
        if tls.is_none() && !raw.sdes_without_tls && !matches!(peer.srtp, raw::Srtp::Off) {
            mistakes.add(
                &format!("sip.peers[{index}].srtp"),
                "needs sip.tls: SRTP keys go over SIP; or set sip.sdes_without_tls = true",
            );
        }
    }
    CallsConfig {
        listeners,
        tls,
        sdes_without_tls: raw.sdes_without_tls,
        advertised: Some(raw.advertised_address),
        max_calls: raw.max_calls,
        ring_time_out: Duration::from_secs(raw.ring_time_out_s),
        max_duration: Duration::from_secs(raw.max_call_duration_s),
        peers: raw.peers.iter().enumerate().map(|(index, raw)| peer(mistakes, index, raw)).collect(),
        logins: raw.peers.iter().enumerate().filter_map(|(index, raw)| login(mistakes, index, raw)).collect(),
        ..CallsConfig::default()
    }
}

fn tls(mistakes: &mut Mistakes, raw: &raw::Tls) -> Option<Tls> {
    let mut read = |name: &str, path: &Path| {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        mistakes.take(&format!("sip.tls.{name}"), bytes)
    };
    let certificate = read("certificate", &raw.certificate);
    let key = read("key", &raw.key);
    let authorities = match &raw.authorities {
        Some(path) => read("authorities", path),
        None => Some(Vec::new()),
    };
    Some(Tls { certificate: certificate?, key: key?, authorities: authorities? })
}

fn peer(mistakes: &mut Mistakes, index: usize, raw: &raw::Peer) -> Peer {
    let networks = raw.networks.iter().enumerate().filter_map(|(n, text)| {
        let network = text.parse::<Network>().map_err(|error| error.to_string());
        mistakes.take(&format!("sip.peers[{index}].networks[{n}]"), network)
    });
    Peer {
        name: raw.name.clone(),
        networks: networks.collect(),
        kind: PeerKind::Pbx,
        nat: raw.nat,
        srtp: wish(raw.srtp),
    }
}

fn wish(raw: raw::Srtp) -> Wish {
    match raw {
        raw::Srtp::Off => Wish::Off,
        raw::Srtp::Optional => Wish::Optional,
        raw::Srtp::Required => Wish::Required,
    }
}

fn login(mistakes: &mut Mistakes, index: usize, raw: &raw::Peer) -> Option<Login> {
    let login = raw.login.as_ref()?;
    let password =
        mistakes.take(&format!("sip.peers[{index}].login.password"), secret::read(&login.password))?;
    let hashes = match login.hashes {
        raw::Hashes::Both => Hashes::Both,
        raw::Hashes::Sha256 => Hashes::Sha256,
        raw::Hashes::Md5 => Hashes::Md5,
    };
    let credential = Credential::new(login.user.as_str(), password.as_str());
    Some(Login { peer: raw.name.clone(), credential, hashes })
}

fn credential(mistakes: &mut Mistakes, path: &str, raw: Option<&raw::Credential>) -> Option<Credential> {
    let raw = raw?;
    let password = mistakes.take(&format!("{path}.credential.password"), secret::read(&raw.password))?;
    let credential = Credential::new(raw.user.as_str(), password.as_str());
    Some(match &raw.realm {
        Some(realm) => credential.for_realm(realm.as_str()),
        None => credential,
    })
}

fn media(mistakes: &mut Mistakes, raw: &raw::Media) -> MediaConfig {
    let advertised_address = raw.advertised_address.unwrap_or(raw.bind_address);
    if advertised_address.is_unspecified() {
        mistakes.add("media.advertised_address", "must be the address that peers send RTP to, not 0.0.0.0");
    }
    if !LOOK_BACK_MS.contains(&raw.look_back_ms) {
        mistakes.add(
            "media.look_back_ms",
            format!("must be from {} to {}", LOOK_BACK_MS.start(), LOOK_BACK_MS.end()),
        );
    }
    if !raw.port_min.is_multiple_of(2) || raw.port_min < 1024 || raw.port_max.saturating_sub(raw.port_min) < 3
    {
        mistakes.add("media.port_min", "must be even, at least 1024, and leave room up to port_max");
    }
    if !(1..=64).contains(&raw.workers) {
        mistakes.add("media.workers", "must be from 1 to 64");
    }
    let fill = match raw.fill {
        raw::Fill::Silence => Fill::Silence,
        raw::Fill::ComfortNoise => Fill::ComfortNoise,
        raw::Fill::Beep => Fill::Beep,
    };
    MediaConfig {
        bind_address: raw.bind_address,
        advertised_address,
        port_min: raw.port_min,
        port_max: raw.port_max,
        workers: raw.workers,
        guard: GuardConfig { look_back_ms: raw.look_back_ms, fill },
    }
}

fn web_limits(mistakes: &mut Mistakes, raw: &raw::Limits) -> WebLimits {
    if raw.client_burst == 0 || raw.client_requests_per_s == 0 || raw.max_sessions == 0 {
        mistakes.add("limits", "must each be at least 1");
    }
    WebLimits {
        client_burst: raw.client_burst,
        client_refill: Duration::from_secs(1) / raw.client_requests_per_s.max(1),
        ..WebLimits::default()
    }
}

fn accounts(mistakes: &mut Mistakes, whole: &raw::Raw) -> (Vec<Account>, RouteTable) {
    let raw = &whole.accounts;
    let mut routes = RouteTable::default();
    let mut accounts = Vec::new();
    if raw.is_empty() {
        mistakes.add("accounts", "must have at least one account");
    }
    for (index, account) in raw.iter().enumerate() {
        let path = format!("accounts[{index}]");
        if account.id.is_empty() || raw[..index].iter().any(|other| other.id == account.id) {
            mistakes.add(&format!("{path}.id"), "must be there and be used once");
        }
        add_routes(mistakes, &path, account, &mut routes);
        let configurations: Vec<Arc<AccountConfiguration>> = account
            .configurations
            .iter()
            .enumerate()
            .map(|(n, raw)| {
                configuration(mistakes, &format!("{path}.configurations[{n}]"), raw, whole).into()
            })
            .collect();
        let default_configuration = ConfigurationId(account.default_configuration);
        if !configurations.iter().any(|configuration| configuration.id == default_configuration) {
            mistakes.add(
                &format!("{path}.default_configuration"),
                format!("there is no configuration {default_configuration}"),
            );
        }
        accounts.push(Account {
            id: AccountId(account.id.clone()),
            payee: links::payee(mistakes, &path, account),
            default_configuration,
            configurations,
            agents: account.agents.iter().map(|agent| AgentId(agent.id.clone())).collect(),
            any_agent: account.default_phone.is_some(),
        });
    }
    (accounts, routes)
}

fn add_routes(mistakes: &mut Mistakes, path: &str, account: &raw::Account, routes: &mut RouteTable) {
    if let Some(credential) = credential(mistakes, path, account.credential.as_ref()) {
        routes.set_account_credential(account.id.clone(), credential);
    }
    for (n, agent) in account.agents.iter().enumerate() {
        let own = credential(mistakes, &format!("{path}.agents[{n}]"), agent.credential.as_ref());
        if let Some(own) = own {
            routes.set_agent_credential(account.id.clone(), agent.id.clone(), own);
        }
        let path = |name: &str| format!("{path}.agents[{n}].{name}");
        if agent.id.is_empty() {
            mistakes.add(&path("id"), "must not be empty");
        }
        let user = agent.user.clone().unwrap_or_else(|| agent.id.clone());
        routes.add_user(account.id.clone(), user.clone(), agent.id.clone());
        let Some(phone) = &agent.phone else {
            routes.add_phoneless(account.id.clone(), agent.id.clone());
            continue;
        };
        if !phone.starts_with("sip:") || !phone.contains('@') {
            mistakes.add(&path("phone"), "must be a SIP URI, such as \"sip:1234@10.0.0.5:5060\"");
        }
        let srtp = agent.srtp.map(wish);
        let route = Route { srtp, ..Route::to_agent(&account.id, &agent.id, phone.clone()) };
        if !routes.add(user, route) {
            mistakes.add(&path("user"), "is dialled for another agent already");
        }
    }
    if account.show_callers {
        routes.show_callers(account.id.clone());
    }
    if let Some(phone) = &account.default_phone {
        if !phone.starts_with("sip:{agent}@") {
            mistakes.add(
                &format!("{path}.default_phone"),
                "must be a SIP URI with {agent} as its user, such as \"sip:{agent}@10.0.0.5:5060\"",
            );
        }
        if !routes.set_default(account.id.clone(), phone.clone()) {
            mistakes.add(&format!("{path}.default_phone"), "can be set for one account only");
        }
    }
}

fn add_trunks(mistakes: &mut Mistakes, raw: &raw::Raw, routes: &mut RouteTable) {
    for (index, route) in raw.sip.routes.iter().enumerate() {
        let path = |name: &str| format!("sip.routes[{index}].{name}");
        if !raw.accounts.iter().any(|account| account.id == route.account) {
            mistakes.add(&path("account"), "must be the id of one of the accounts");
        }
        if route.from.as_ref().is_some_and(|from| raw.sip.peers.iter().all(|peer| peer.name != *from)) {
            mistakes.add(&path("from"), "must be the name of one of sip.peers");
        }
        if !route.next_hop.starts_with("sip:{user}@") {
            mistakes.add(
                &path("next_hop"),
                "must be a SIP URI with {user} as its user, such as \"sip:{user}@10.0.0.5:5060\"",
            );
        }
        routes.add_trunk(Trunk {
            account: route.account.clone(),
            from: route.from.clone(),
            prefix: route.prefix.clone(),
            next_hop: route.next_hop.clone(),
            customer: match route.customer {
                raw::CustomerSide::Caller => Leg::Caller,
                raw::CustomerSide::Callee => Leg::Callee,
            },
        });
    }
}

fn configuration(
    mistakes: &mut Mistakes,
    path: &str,
    raw: &raw::Configuration,
    whole: &raw::Raw,
) -> AccountConfiguration {
    let mut ways = ways(mistakes, path, raw, &whole.gateways).into_iter();
    let gateway = ways.next().unwrap_or_else(|| GatewayName(String::new()));
    origins(mistakes, &format!("{path}.allowed_origins"), &raw.allowed_origins);
    AccountConfiguration {
        id: ConfigurationId(raw.id),
        kind: links::kind(mistakes, path, raw, whole.payer.is_some()),
        link_life: links::link_life(mistakes, path, raw.link_life_h),
        test: raw.test,
        flow: PaymentFlow {
            fields: fields(mistakes, path, &raw.fields),
            brands: brands(mistakes, path, &raw.brands),
            purpose: purpose(raw.purpose),
            acceptance: acceptance(raw),
            keep_card: raw.keep_card,
            data: field_map(mistakes, path, raw),
            first_key_time_out: Duration::from_secs(raw.first_key_time_out_s),
            between_keys_time_out: Duration::from_secs(raw.between_keys_time_out_s),
            session_time_out: Duration::from_secs(raw.session_time_out_s),
        },
        gateway,
        fail_over: ways.collect(),
        allowed_origins: raw.allowed_origins.clone(),
        webhook: raw.webhook.is_some(),
    }
}

/// The gateways of a configuration, in order: `gateway`, or `gateways` for those that can be left for the next.
fn ways(
    mistakes: &mut Mistakes,
    path: &str,
    raw: &raw::Configuration,
    gateways: &[raw::Gateway],
) -> Vec<GatewayName> {
    let names: Vec<&String> = raw.gateway.iter().chain(&raw.gateways).collect();
    if raw.gateway.is_some() != raw.gateways.is_empty() {
        mistakes.add(&format!("{path}.gateway"), "must be there, or gateways in its place, not both");
    }
    for (index, name) in names.iter().enumerate() {
        if !gateways.iter().any(|gateway| gateway.name == **name) {
            mistakes.add(&format!("{path}.gateway"), "must be the name of one of the gateways");
        }
        if names.iter().take(index).any(|earlier| earlier == name) {
            mistakes.add(&format!("{path}.gateways"), "must not name a gateway twice");
        }
    }
    names.into_iter().cloned().map(GatewayName).collect()
}

fn purpose(raw: raw::Purpose) -> Purpose {
    match raw {
        raw::Purpose::Sale => Purpose::Sale,
        raw::Purpose::Authorise => Purpose::Authorise,
        raw::Purpose::Tokenise => Purpose::Tokenise,
    }
}

fn acceptance(raw: &raw::Configuration) -> Acceptance {
    let on = |raw: Option<raw::OnMismatch>, usual| match raw {
        Some(raw::OnMismatch::Accept) => OnMismatch::Accept,
        Some(raw::OnMismatch::Reverse) => OnMismatch::Reverse,
        None => usual,
    };
    let usual = Acceptance::default();
    Acceptance {
        split: raw.split,
        address: on(raw.on_address_mismatch, usual.address),
        security_code: on(raw.on_security_code_mismatch, usual.security_code),
    }
}

fn fields(mistakes: &mut Mistakes, path: &str, names: &[String]) -> Vec<Field> {
    let fields: Vec<_> = names.iter().filter_map(|name| Field::from_name(name)).collect();
    let in_order = fields.is_sorted_by_key(|field| Field::ALL.iter().position(|other| other == field));
    if fields.len() != names.len() || fields.first() != Some(&Field::CardNumber) || !in_order {
        mistakes.add(
            &format!("{path}.fields"),
            "must be card_number, expiry, security_code, in this order; the last two may be left out",
        );
    }
    fields
}

fn brands(mistakes: &mut Mistakes, path: &str, names: &[String]) -> Vec<Brand> {
    let name_of = |brand: &Brand| format!("{brand:?}").to_lowercase();
    let brands: Vec<_> = names
        .iter()
        .filter_map(|name| Brand::ALL.into_iter().find(|brand| name_of(brand) == *name))
        .collect();
    if brands.len() != names.len() || brands.is_empty() {
        let known: Vec<_> = Brand::ALL.iter().map(name_of).collect();
        mistakes.add(&format!("{path}.brands"), format!("must be some of: {}", known.join(", ")));
    }
    brands
}

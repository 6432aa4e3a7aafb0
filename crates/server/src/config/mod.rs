//! `hushpad.toml`, parsed into final types when the program starts. Every mistake is told with its path
//! and what would be right.

mod check;
mod field_map;
mod gateways;
mod links;
mod raw;
mod recorders;
mod routes;
mod secret;
mod senders;
mod webhooks;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hushpad_domain::account::Directory;
use hushpad_gateways::GatewayConfig;
use hushpad_web::WebLimits;

use zeroize::Zeroizing;

use crate::calls::CallsConfig;
use crate::http::ClientCertificates;
use crate::media::MediaConfig;
use crate::recorder::RecorderConfig;
use crate::senders::SendersConfig;
use crate::webhooks::WebhookConfig;

pub use routes::RouteTable;
pub use secret::{MasterKey, SAMPLE_MASTER_KEY};

/// The whole configuration. Made once, never changed.
pub struct Config {
    /// Whether sample secrets and plain-http gateways are taken.
    pub test_mode: bool,
    /// The one secret that every other key is derived from.
    pub master_key: MasterKey,
    /// The Payment API and OAuth.
    pub api: HttpListener,
    /// The same on a listener that asks clients for a certificate.
    pub api_certificates: Option<CertificateListener>,
    /// Whose pages may call it from a browser.
    pub browser_origins: Vec<String>,
    /// The agent page.
    pub page: HttpListener,
    /// The payer page, where payment links lead to.
    pub payer: Option<HttpListener>,
    /// Health and metrics.
    pub admin: SocketAddr,
    /// Where gateways tell unasked what became of something; `None` where none does.
    pub notifications: Option<SocketAddr>,
    /// Where sessions are kept: `sqlite:PATH` or `postgres://…`, which may hold a password.
    pub store_url: Zeroizing<String>,
    /// The file with the keys of results, which no backup may take.
    pub result_keys: PathBuf,
    /// SIP and calls.
    pub calls: CallsConfig,
    /// RTP.
    pub media: MediaConfig,
    /// Requests of API clients.
    pub web_limits: WebLimits,
    /// Provider sessions at one time.
    pub max_sessions: usize,
    /// Gateways by name.
    pub gateways: Vec<GatewayConfig>,
    /// Accounts.
    pub directory: Directory,
    /// Where dialled calls go.
    pub routes: RouteTable,
    /// Where results are pushed to.
    pub webhooks: Vec<WebhookConfig>,
    /// Recorders that are told to pause.
    pub recorders: Vec<RecorderConfig>,
    /// How payment links reach payers.
    pub senders: Vec<SendersConfig>,
}

/// An HTTP listener and the URL that others reach it by.
#[derive(Clone, Debug)]
pub struct HttpListener {
    /// Where we listen.
    pub listen: SocketAddr,
    /// `scheme://host[:port]`, no path, no slash at the end.
    pub public_url: String,
}

/// The Payment API for clients that show a certificate (RFC 8705).
pub struct CertificateListener {
    /// Where it listens, and how others reach it.
    pub http: HttpListener,
    /// Our certificate, and what clients' are worth.
    pub certificates: Arc<ClientCertificates>,
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// Every mistake found, each with its path.
    pub fn load(path: &Path) -> Result<Self, ConfigMistakes> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigMistakes::one(path.display().to_string(), format!("cannot be read: {error}"))
        })?;
        Self::parse(&text)
    }

    /// Checks the text of a config file.
    ///
    /// # Errors
    /// Every mistake found, each with its path.
    pub fn parse(text: &str) -> Result<Self, ConfigMistakes> {
        let document = toml::Deserializer::parse(text)
            .map_err(|error| ConfigMistakes::one("the file".into(), error.to_string()))?;
        let raw: raw::Raw = serde_path_to_error::deserialize(document).map_err(|error| {
            let path = error.path().to_string();
            ConfigMistakes::one(path, error.into_inner().message().to_owned())
        })?;
        check::check(raw)
    }
}

/// What is wrong with a config file.
#[derive(Debug)]
pub struct ConfigMistakes(Vec<(String, String)>);

impl ConfigMistakes {
    fn one(path: String, problem: String) -> Self {
        Self(vec![(path, problem)])
    }
}

impl fmt::Display for ConfigMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, problem) in &self.0 {
            writeln!(f, "  {path}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigMistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../../hushpad.example.toml");

    #[test]
    fn the_example_is_valid_but_for_its_secrets() {
        let mistakes = Config::parse(EXAMPLE).err().expect("the secrets' files are not there").to_string();
        insta::assert_snapshot!(mistakes, @r"
          secrets.master_key: /etc/hushpad/master.key: No such file or directory (os error 2)
          gateways[0].password: the environment variable HUSHPAD_SANDBOX_PASSWORD is not set
        ");
    }

    #[test]
    fn every_mistake_is_told_with_its_path() {
        let text = EXAMPLE
            .replace("id = \"agent1234\"", "id = \"\"")
            .replace("gateway = \"sandbox\"", "gateway = \"nowhere\"")
            .replace("look_back_ms = 40", "look_back_ms = 7")
            .replace("\"https://shop.example.com\"", "\"https://shop.example.com/path\"")
            .replace("10.0.0.0/8", "10.0.0.0/64");
        let mistakes = Config::parse(&text).err().expect("mistakes").to_string();
        for path in [
            "accounts[0].agents[0].id",
            "accounts[0].configurations[0].gateway",
            "media.look_back_ms",
            "accounts[0].configurations[0].allowed_origins[0]",
            "sip.peers[0].networks[0]",
        ] {
            assert!(mistakes.contains(path), "{path} is not in:\n{mistakes}");
        }
    }

    #[test]
    fn each_kind_of_gateway_says_what_it_needs() {
        let text = EXAMPLE.replace("kind = \"generic\"", "kind = \"cybersource\"");
        let mistakes = Config::parse(&text).err().expect("mistakes").to_string();
        insta::assert_snapshot!(mistakes, @r"
          secrets.master_key: /etc/hushpad/master.key: No such file or directory (os error 2)
          gateways[0].merchant_id: is missing: this kind of gateway needs it
          gateways[0].key_id: is missing: this kind of gateway needs it
          gateways[0].secret: is missing: this kind of gateway needs it
        ");
    }

    #[test]
    fn logins_and_credentials_are_references_too() {
        let text = EXAMPLE.replace("# login =", "login =").replace("# credential =", "credential =");
        let mistakes = Config::parse(&text).err().expect("mistakes").to_string();
        for place in ["sip.peers[0].login.password", "accounts[0].credential.password"] {
            assert!(mistakes.contains(place), "{place} is not in:\n{mistakes}");
        }
    }

    #[test]
    fn a_webhook_says_what_is_wrong_with_it() {
        let text =
            EXAMPLE.replace("# webhook.", "webhook.").replace("https://shop.example.com/token", "ftp://x");
        let text = text.replace("webhook.url = \"https:", "webhook.url = \"http:");
        let mistakes = Config::parse(&text).err().expect("mistakes").to_string();
        insta::assert_snapshot!(mistakes, @r"
          secrets.master_key: /etc/hushpad/master.key: No such file or directory (os error 2)
          gateways[0].password: the environment variable HUSHPAD_SANDBOX_PASSWORD is not set
          accounts[0].configurations[0].webhook.url: must start with https:// (allow_http = true takes http://)
          accounts[0].configurations[0].webhook.secrets[0]: /etc/hushpad/webhook.secret: No such file or directory (os error 2)
          accounts[0].configurations[0].webhook.oauth.token_url: must start with https://
          accounts[0].configurations[0].webhook.oauth.client_secret: the environment variable HUSHPAD_SHOP_SECRET is not set
          accounts[0].configurations[0].webhook.authorities: /etc/hushpad/shop-ca.pem: No such file or directory (os error 2)
        ");
    }

    #[test]
    fn a_sender_says_what_is_wrong_with_it() {
        let text = EXAMPLE.replace("# sms.", "sms.").replace("# mail.", "mail.");
        let told = |text: &str| Config::parse(text).err().expect("mistakes").to_string();
        let missing = told(&text);
        for path in ["accounts[0].sms.password", "accounts[0].sms.authorities", "accounts[0].mail.password"] {
            assert!(missing.contains(path), "{path} is not in:\n{missing}");
        }
        for (right, wrong, path, problem) in [
            ("sms.text = \"{payee}", "sms.text = \"{name}", "accounts[0].sms.text", "none of {payee}"),
            ("Pay here: {link}\"", "\"", "accounts[0].sms.text", "must hold {link}"),
            (
                "Body = \"{text}\"",
                "Body = \"hello\"",
                "accounts[0].sms",
                "must hold {to} or {to_digits}, and {text}",
            ),
            ("https://api.twilio", "http://api.twilio", "accounts[0].sms.url", "must start with https://"),
            ("sms.user = \"AC0123\"", "", "accounts[0].sms", "both or neither"),
            (
                "sms.form = {",
                "sms.json = \"{\"\nsms.form = {",
                "accounts[0].sms",
                "form or json, one of the two",
            ),
            (
                "mail.subject = \"",
                "mail.subject = \"{link}",
                "accounts[0].mail.subject",
                "must not hold {link}",
            ),
            (
                "mail.security = \"tls\"",
                "mail.security = \"none\"",
                "accounts[0].mail.security",
                "must be tls",
            ),
            ("Example Shop <pay@", "Example Shop <pay", "accounts[0].mail.from", "must be a mail address"),
        ] {
            assert!(text.contains(right), "{right}");
            let mistakes = told(&text.replace(right, wrong));
            let line = mistakes.lines().find(|line| line.contains(path) && line.contains(problem));
            assert!(line.is_some(), "{path}: {problem} is not in:\n{mistakes}");
        }
    }

    #[test]
    fn the_payer_page_has_an_origin_of_its_own_and_digital_sessions_need_it() {
        let text = EXAMPLE
            .replace("https://pay-by-link.example.com", "https://pay.example.com")
            .replace("link_life_h = 72", "link_life_h = 73")
            .replace("payee = \"Example Shop\"", "payee = \"\"");
        let mistakes = Config::parse(&text).err().expect("mistakes").to_string();
        for told in [
            "payer.public_url: must be another origin than page.public_url",
            "accounts[0].configurations[1].link_life_h: must be from 1 to 72",
            "accounts[0].payee: must be a name",
        ] {
            assert!(mistakes.contains(told), "{told} is not in:\n{mistakes}");
        }
        let text = EXAMPLE.replace("https://pay-by-link", "http://pay-by-link");
        assert!(
            Config::parse(&text)
                .err()
                .expect("a mistake")
                .to_string()
                .contains("payer.public_url: must be https")
        );
        let (before, after) = EXAMPLE.split_once("[payer]\n").expect("the example has a payer page");
        let (_, after) = after.split_once("[admin]").expect("and an admin listener");
        let mistakes = Config::parse(&format!("{before}[admin]{after}")).err().expect("mistakes").to_string();
        assert!(mistakes.contains("configurations[1].kind: needs [payer]"), "{mistakes}");
    }

    #[test]
    fn a_tls_listener_needs_a_certificate() {
        let listener = "listen = [\"udp:0.0.0.0:5060\"";
        let text = EXAMPLE.replace(listener, &format!("{listener}, \"tls:0.0.0.0:5061\""));
        assert!(Config::parse(&text).err().expect("a mistake").to_string().contains("sip.tls: must name"));
        let text = text.replace("# tls =", "tls =");
        let mistakes = Config::parse(&text).err().expect("mistakes").to_string();
        assert!(mistakes.contains("sip.tls.key: /etc/hushpad/sip.key"), "{mistakes}");
    }

    #[test]
    fn a_wrong_type_or_an_unknown_name_is_told_with_its_path() {
        let wrong = EXAMPLE.replace("max_calls = 500", "max_calls = \"many\"");
        assert!(Config::parse(&wrong).err().expect("a mistake").to_string().contains("sip.max_calls"));
        let unknown = EXAMPLE.replace("max_calls = 500", "max_cals = 500");
        assert!(Config::parse(&unknown).err().expect("a mistake").to_string().contains("max_cals"));
    }
}

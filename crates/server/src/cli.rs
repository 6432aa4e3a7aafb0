//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::log::LogFormat;

/// Card payments on the phone: the customer keys the card, the agent hears nothing of it.
#[derive(Parser)]
#[command(
    name = "hushpad",
    version,
    after_help = "Start here:\n  hushpad demo                      the whole story on this machine, in the browser\n  hushpad demo --once               the same in the terminal, by itself\n  hushpad check-config -c FILE      every mistake in a config file\n  hushpad serve -c FILE             run"
)]
pub struct Cli {
    /// What is logged: error, warn, info, debug, or tracing directives. Without it, info; demo and bench: warn.
    #[arg(long, global = true, env = "HUSHPAD_LOG")]
    pub log: Option<String>,
    /// How log lines are written.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What is logged. The demo and the bench tell their own story.
    #[must_use]
    pub fn log(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(log), _) => log,
            (None, Command::Demo(_) | Command::Bench(_) | Command::AudioCheck(_) | Command::PageWatch(_)) => {
                "warn"
            }
            (
                None,
                Command::Serve(_)
                | Command::CheckConfig(_)
                | Command::Client(_)
                | Command::Agent(_)
                | Command::Migrate(_)
                | Command::Webhooks(_)
                | Command::Attempts(_)
                | Command::GatewaySim(_),
            ) => "info",
        }
    }
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Runs the product: Payment API, agent page, calls.
    Serve(ConfigArgs),
    /// Reads a config file and tells every mistake in it.
    CheckConfig(ConfigArgs),
    /// API clients: who may call the Payment API.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Agents who sign in by themselves, for browser applications.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Brings the store's schema up to date. The server does so too when it starts.
    ///
    /// Copies nothing from SQLite to PostgreSQL: a new database begins empty.
    Migrate(MigrateArgs),
    /// Webhooks: dead letters, replays, and a receiver to try with.
    #[command(subcommand, alias = "webhook")]
    Webhooks(WebhooksCommand),
    /// Attempts whose outcome nobody knows: lists them, and takes what the operator has looked up at the gateway.
    #[command(subcommand)]
    Attempts(AttemptsCommand),
    /// The main job on this machine: a customer's phone, an agent's phone, a shop, a gateway.
    Demo(DemoArgs),
    /// A simulator of six gateways with a ledger, for tests. It moves no money.
    GatewaySim(GatewaySimArgs),
    /// Tells which keys somebody could have heard in recordings (WAV) and captures (pcap). It prints no key.
    ///
    /// Ends with 0 when none was audible, 1 when one was, 2 when something could not be read.
    AudioCheck(AudioCheckArgs),
    /// Looks at a running payer page from outside and tells whether it is the one of this release: headers, form, script,
    /// style (PCI DSS 11.6.1). Let it run at least once a week, from a machine that payers' browsers could be.
    ///
    /// Ends with 0 when it is, 1 when something differs, 2 when it could not be looked at.
    PageWatch(PageWatchArgs),
    /// Measures this build on this machine: sessions, key presses and webhooks. Calls: `./bench calls`.
    Bench(BenchArgs),
}

/// Which config file.
#[derive(Args, Clone)]
pub struct ConfigArgs {
    /// The config file.
    #[arg(short, long, default_value = "hushpad.toml", env = "HUSHPAD_CONFIG")]
    pub config: PathBuf,
}

/// Which payer page.
#[derive(Args, Clone)]
pub struct PageWatchArgs {
    /// `payer.public_url`.
    #[arg(long)]
    pub url: String,
    /// A payment link whose page is to be looked at too; any number of them. Its secret is printed nowhere.
    #[arg(long)]
    pub link: Vec<String>,
    /// PEM file of certificate authorities to trust besides the public ones.
    #[arg(long)]
    pub authorities: Option<PathBuf>,
}

/// What to do with API clients.
#[derive(Subcommand)]
pub enum ClientCommand {
    /// Makes a client and shows its secret, this once.
    Create {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// The account that it acts for.
        #[arg(long)]
        account: String,
        /// Binds it to one agent: a browser-side caller.
        #[arg(long)]
        agent: Option<String>,
        /// Makes a public client, without a secret: a page in a browser, which comes back to this address with a code
        /// after an agent has signed in. May be there several times; each is compared whole.
        #[arg(long, conflicts_with = "agent")]
        redirect_uri: Vec<String>,
        /// What you call it.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Lists the clients, without secrets.
    List {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
    },
    /// Gives a client a new secret and shows it, this once. The one before stays good until `drop-old-secret`.
    RotateSecret {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Its client id.
        client_id: String,
    },
    /// Ends the secret before the newest.
    DropOldSecret {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Its client id.
        client_id: String,
    },
    /// Takes the client's public key, for `private_key_jwt`; without one, takes it away.
    SetKey {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Its client id.
        client_id: String,
        /// The Ed25519 key's `x` of its JWK: 32 bytes in base64url.
        #[arg(long)]
        public_key: Option<String>,
    },
    /// Says by which certificate the client may prove itself, on the listener for certificates; without one, by none.
    #[command(group(clap::ArgGroup::new("known_by").args(["file", "name"])))]
    SetCertificate {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Its client id.
        client_id: String,
        /// This very certificate, self-signed or not: a PEM file.
        #[arg(long)]
        file: Option<PathBuf>,
        /// Any certificate for this DNS name that one of `api.certificates.authorities` has signed.
        #[arg(long)]
        name: Option<String>,
    },
    /// Adds a key that signs access tokens from a minute on. Those before verify until their tokens have ended.
    RotateSigningKey {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
    },
    /// Revokes a client: it gets no token any more.
    Revoke {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Its client id.
        client_id: String,
    },
}

/// What to do with agents.
#[derive(Subcommand)]
pub enum AgentCommand {
    /// Lets an agent sign in, or gives a new password: what was signed in before is over. Shows the password, this once.
    Create {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// The account.
        #[arg(long)]
        account: String,
        /// Reads the password from standard input, one line, in place of making one.
        #[arg(long)]
        password_stdin: bool,
        /// The agent's id.
        agent: String,
    },
    /// Lists the agents who may sign in.
    List {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
    },
    /// Lets an agent sign in no more, and ends what was signed in.
    Revoke {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// The account.
        #[arg(long)]
        account: String,
        /// The agent's id.
        agent: String,
    },
}

/// How to migrate.
#[derive(Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "shown by clap")]
    pub config: ConfigArgs,
    /// Changes nothing: ends with 0 when the schema is up to date, with 1 when it is behind.
    #[arg(long)]
    pub check: bool,
}

/// What to do with attempts.
#[derive(Subcommand)]
pub enum AttemptsCommand {
    /// Lists the attempts that are open or whose reversal is, and other operations that are open.
    List {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Only those whose outcome is unknown.
        #[arg(long)]
        unknown: bool,
    },
    /// Says what became of an attempt or of an operation, as it stands written at the gateway. The server takes it up
    /// within a minute, or at its next start, and tells it in the session's events.
    #[command(group(clap::ArgGroup::new("found").required(true).args(["charged", "not_charged", "done", "failed"])))]
    Settle {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// The id of the attempt or of the operation: our reference at the gateway.
        id: uuid::Uuid,
        /// The whole amount is held or was taken.
        #[arg(long)]
        charged: bool,
        /// Nothing is held: it never was, or it was given back.
        #[arg(long)]
        not_charged: bool,
        /// The operation was done.
        #[arg(long)]
        done: bool,
        /// The operation was not done, or has failed.
        #[arg(long)]
        failed: bool,
        /// Where that stands written, such as the gateway's reference.
        #[arg(long)]
        reference: String,
    },
}

/// What to do with webhooks.
#[derive(Subcommand)]
pub enum WebhooksCommand {
    /// Lists the dead letters, oldest first.
    List {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Of this account only.
        #[arg(long)]
        account: Option<String>,
        /// Those that are still tried, in place of the dead ones.
        #[arg(long)]
        due: bool,
    },
    /// Sends a dead letter again: at once, and then by the schedule. The server must run.
    Replay {
        #[command(flatten)]
        #[expect(missing_docs, reason = "shown by clap")]
        config: ConfigArgs,
        /// Of this account only.
        #[arg(long)]
        account: Option<String>,
        /// The webhook's id.
        #[arg(value_parser = crate::webhooks::cli::parse_id)]
        id: uuid::Uuid,
    },
    /// Receives webhooks, prints them, and says whether they verify. For integrators.
    Listen(ListenArgs),
}

/// How the receiver runs.
#[derive(Args)]
pub struct ListenArgs {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub listen: std::net::SocketAddr,
    /// A file with the secret (whsec_…) that the configuration signs with.
    #[arg(long)]
    pub secret_file: PathBuf,
    /// Ends after so many; without it, when it is asked to stop.
    #[arg(long)]
    pub count: Option<u64>,
}

/// How the demo runs.
#[derive(Args)]
pub struct DemoArgs {
    /// Plays the story once in the terminal; ends with 0 only if the payment was approved and no tone
    /// reached the agent.
    #[arg(long)]
    pub once: bool,
    /// The port of the shop page on 127.0.0.1.
    #[arg(long, default_value_t = 8700)]
    pub port: u16,
}

/// How the gateway simulator runs.
#[derive(Args)]
pub struct GatewaySimArgs {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:8900")]
    pub listen: std::net::SocketAddr,
    /// Keeps the ledger in this file, so that it survives a restart. It holds no card number.
    #[arg(long)]
    pub ledger: Option<PathBuf>,
    /// Where Adyen's notifications are posted, such as `http://127.0.0.1:8443/adyen`.
    #[arg(long)]
    pub notify: Option<String>,
    /// Takes keyed cards from web pages too, not only from telephone and mail orders.
    #[arg(long)]
    pub ecommerce: bool,
}

/// What is measured.
#[derive(Args)]
pub struct BenchArgs {
    /// `sessions`, `keys`, `webhooks`, `payments`, or `all`, which is the first three.
    #[arg(default_value = "all")]
    pub what: String,
}

/// Which recordings are checked.
#[derive(Args)]
pub struct AudioCheckArgs {
    /// Also tells which keys they were. The report is then as secret as the recording.
    #[arg(long)]
    pub show_keys: bool,
    /// WAV (G.711 or 16-bit PCM), pcap or pcapng with RTP.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

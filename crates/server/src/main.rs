//! The program `hushpad`.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use hushpad::allocator::WipingAllocator;
use hushpad::cli::{Cli, Command, ConfigArgs};
use hushpad::config::Config;
use hushpad::log::{self, Redactor};
use hushpad::{
    agents, attempts, audio_check, bench, clients, demo, gateway_sim, hardening, migrate, page_watch, serve,
    webhooks,
};
use tracing::info;

#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hushpad: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let redactor = Redactor::default();
    log::start(cli.log(), cli.log_format, &redactor).context("--log")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            Command::Serve(arguments) => serve_until_asked_to_stop(&arguments, redactor).await,
            Command::CheckConfig(arguments) => check_config(&arguments),
            Command::Client(command) => {
                clients::run(command, &mut io::stdout()).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Agent(command) => agents::run(command, &mut io::stdin().lock(), &mut io::stdout())
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Migrate(arguments) => migrate::run(&arguments, &mut io::stdout()).await,
            Command::Attempts(command) => {
                attempts::run(command, &mut io::stdout()).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Webhooks(command) => {
                let mut out = io::stdout();
                webhooks::cli::run(command, wait_for_stop(), &mut out).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Demo(arguments) => demo::run(arguments, redactor).await,
            Command::AudioCheck(arguments) => audio_check::run(&arguments, &mut io::stdout()),
            Command::PageWatch(arguments) => page_watch::run(&arguments, &mut io::stdout()).await,
            Command::GatewaySim(arguments) => {
                gateway_sim::run(&arguments, wait_for_stop()).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Bench(arguments) => {
                bench::run(&arguments, redactor, &mut io::stdout()).await.map(|()| ExitCode::SUCCESS)
            }
        }
    })
}

async fn serve_until_asked_to_stop(arguments: &ConfigArgs, redactor: Redactor) -> anyhow::Result<ExitCode> {
    hardening::harden().context("the process cannot be hardened")?;
    hardening::raise_descriptor_limit();
    let config = load(arguments)?;
    let running = serve::start(config, redactor).await?;
    info!("ready");
    wait_for_stop().await?;
    info!("stopping: live calls may finish");
    running.shut_down().await;
    Ok(ExitCode::SUCCESS)
}

fn check_config(arguments: &ConfigArgs) -> anyhow::Result<ExitCode> {
    load(arguments)?;
    writeln!(io::stdout(), "{}: no mistakes", arguments.config.display())?;
    Ok(ExitCode::SUCCESS)
}

fn load(arguments: &ConfigArgs) -> anyhow::Result<Config> {
    Config::load(&arguments.config)
        .map_err(|mistakes| anyhow::anyhow!("mistakes in {}:\n{mistakes}", arguments.config.display()))
}

/// Ctrl-C, or the service manager's TERM.
async fn wait_for_stop() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

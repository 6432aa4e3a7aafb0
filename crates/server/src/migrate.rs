//! `hushpad migrate`: the store's schema, brought up to date by itself or only looked at.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::MigrateArgs;
use crate::config::Config;

/// Does what the command line asks. With `--check`, fails when the schema is behind.
///
/// # Errors
/// What was wrong, for the person at the terminal.
pub async fn run(arguments: &MigrateArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config::load(&arguments.config.config)?;
    let versions = if arguments.check {
        hushpad_store::schema_versions(&config.store_url).await?
    } else {
        hushpad_store::migrate(&config.store_url).await?
    };
    let (found, known) = (versions.found, versions.known);
    if found == known {
        writeln!(out, "the schema is up to date: {known}")?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check {
        writeln!(
            out,
            "the schema is {found}, this release needs {known}: run hushpad migrate, or start the server"
        )?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "the schema was {found} and is {known} now")?;
    Ok(ExitCode::SUCCESS)
}

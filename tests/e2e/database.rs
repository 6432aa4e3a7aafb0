//! A PostgreSQL server of one desk's own, which a story may end and start again. Needs Debian's postgresql.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::Program;
use crate::until;

/// Without TCP: the socket is in its own directory.
const SETTINGS: &str = "listen_addresses = ''\nmax_connections = 40\nshared_buffers = 16MB\n";

/// A server with one empty database.
pub(crate) struct Database {
    programs: PathBuf,
    directory: TempDir,
    server: Program,
}

impl Database {
    /// Makes it and starts it.
    pub(crate) fn start() -> Self {
        let programs = programs();
        // Not where the build is: a socket's path has at most 107 bytes, and another user must come in.
        let directory = tempfile::Builder::new().prefix("hushpad-desk-").tempdir().unwrap();
        let owned = Command::new("chown").arg("postgres").arg(directory.path()).status().unwrap();
        assert!(owned.success());
        let data = directory.path().join("data");
        let mut initdb = as_owner(&programs.join("initdb"), directory.path());
        initdb.args(["--username=hushpad", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        assert!(initdb.arg("--pgdata").arg(&data).stdout(Stdio::null()).status().unwrap().success());
        let settings = format!("{SETTINGS}unix_socket_directories = '{}'\n", directory.path().display());
        fs::write(data.join("postgresql.conf"), settings).unwrap();
        let server = run(&programs, directory.path());
        Self { programs, directory, server }
    }

    /// What the product is told of it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://hushpad@{}/postgres", self.directory.path().to_str().unwrap().replace('/', "%2F"))
    }

    /// It is gone in the middle of whatever it did.
    pub(crate) fn is_lost(&mut self) {
        let mut stop = as_owner(&self.programs.join("pg_ctl"), self.directory.path());
        stop.args(["--mode=immediate", "--wait", "stop", "--pgdata"]).arg(self.directory.path().join("data"));
        assert!(stop.stdout(Stdio::null()).status().unwrap().success());
        self.server.ends();
    }

    /// It is there again, with all that it had promised to keep.
    pub(crate) fn returns(&mut self) {
        self.server = run(&self.programs, self.directory.path());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.server.stop();
    }
}

fn run(programs: &Path, directory: &Path) -> Program {
    let mut postgres = as_owner(&programs.join("postgres"), directory);
    postgres.arg("-D").arg(directory.join("data"));
    let server = Program::start("postgres", &mut postgres, &directory.join("log"));
    until("the database takes connections", || {
        UnixStream::connect(directory.join(".s.PGSQL.5432")).ok().and_then(|_| {
            let mut asked = as_owner(&programs.join("pg_isready"), directory);
            asked.arg("--quiet").arg("--host").arg(directory).status().unwrap().success().then_some(())
        })
    });
    server
}

/// PostgreSQL's programs refuse to run as root.
fn as_owner(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command.current_dir(directory);
    command
}

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed (Debian: postgresql)");
    let mut versions: Vec<_> = versions.map(|version| version.unwrap().path().join("bin")).collect();
    versions.sort();
    versions.pop().expect("PostgreSQL has a version")
}

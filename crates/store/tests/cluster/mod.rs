//! A PostgreSQL cluster for tests, on a socket of its own, with `fsync` on. The first test process starts it,
//! all share it, each test has a database of its own; `keeper.sh` ends it when nobody needs it any more.
//! Without PostgreSQL's programs (Debian: `postgresql`) these tests fail.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use uuid::Uuid;

/// An empty database. The cluster stays at least as long as this.
pub(crate) struct Database {
    directory: PathBuf,
    name: String,
    /// Locked, which tells the keeper that somebody is here.
    _users: File,
}

impl Database {
    pub(crate) async fn new() -> Self {
        let (directory, users) = tokio::task::spawn_blocking(join_cluster).await.unwrap();
        let name = format!("t{}", Uuid::new_v4().simple());
        let admin = PgConnectOptions::new_without_pgpass().socket(&directory).username("hushpad");
        let mut admin = admin.database("postgres").connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
        Self { directory, name, _users: users }
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.directory.to_str().unwrap().replace('/', "%2F");
        format!("postgres://hushpad@{socket}/{}", self.name)
    }
}

/// The directory of the cluster that runs, started if need be, and this process's lock on it.
fn join_cluster() -> (PathBuf, File) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let open = |name: &str| {
        File::options().read(true).write(true).create(true).truncate(false).open(place.join(name)).unwrap()
    };
    let mut users = open("postgres-users");
    // Waits only while a keeper that has seen nobody ends its cluster.
    users.lock_shared().unwrap();
    users.write_all(b".").unwrap();
    let starting = open("postgres-starting");
    starting.lock().unwrap();
    let known = place.join("postgres-directory");
    let running = fs::read_to_string(&known).ok().map(PathBuf::from);
    let running = running.filter(|directory| UnixStream::connect(directory.join(".s.PGSQL.5432")).is_ok());
    let directory = running.unwrap_or_else(|| {
        let directory = start_cluster(&place.join("postgres-users"));
        fs::write(&known, directory.to_str().unwrap()).unwrap();
        directory
    });
    (directory, users)
}

#[expect(clippy::zombie_processes, reason = "it outlives this test, and then has no parent to wait")]
fn start_cluster(users: &Path) -> PathBuf {
    // Not under the build's directory: the path of a socket has at most 107 bytes, and another user must come in.
    let directory = tempfile::Builder::new().prefix("hushpad-postgres-").tempdir().unwrap().keep();
    let keeper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/keeper.sh");
    let log = directory.with_extension("log");
    let mut child = Command::new(keeper)
        .arg(programs())
        .arg(&directory)
        .arg(users)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).unwrap())
        // Lives on when this test and its group end.
        .process_group(0)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    assert_eq!(line, "ready\n", "PostgreSQL did not start: {said}");
    directory
}

/// Where the newest `initdb` and `pg_ctl` are.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().map_while(Result::ok);
    versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max()
        .expect("PostgreSQL is missing: apt-get install postgresql")
}

//! Programs that a story starts, and ends by their process id.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::until;

/// The programs that start others, and end them when they are asked to end.
pub(crate) const SCREEN: &str = "the agent's screen";
pub(crate) const KAMAILIO: &str = "kamailio";
const WITH_CHILDREN: [&str; 2] = [SCREEN, KAMAILIO];

/// A running program. What it says goes to a file. Dropped, it is killed.
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; `log` gets all that it says, after what is there already.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::start_with(name, command.stdin(Stdio::null()), log)
    }

    /// The same, and it can be told things on its standard input.
    pub(crate) fn start_told(name: &str, command: &mut Command, log: &Path) -> (Self, ChildStdin) {
        let mut program = Self::start_with(name, command.stdin(Stdio::piped()), log);
        let keyboard = program.child.stdin.take().unwrap();
        (program, keyboard)
    }

    fn start_with(name: &str, command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let err = out.try_clone().unwrap();
        let child = command.stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        until(&format!("{} ends", self.name), || self.child.try_wait().unwrap())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        if self.is_running() {
            self.ask_to_end();
            self.ends();
        }
    }

    fn ask_to_end(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap().success());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.is_running() && WITH_CHILDREN.contains(&self.name.as_str()) {
            self.ask_to_end();
            let begun = Instant::now();
            while self.is_running() && begun.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            println!("---- {} said last:\n{tail}", self.name);
        }
    }
}

/// What a program that should succeed says on standard output.
pub(crate) fn output(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// A row of ports that nobody else has: whatever of one desk listens, listens in it.
pub(crate) struct Ports {
    pub(crate) first: u16,
    next: u16,
    /// On the last port: who looks for a row sees that this one is taken.
    _claim: UdpSocket,
}

impl Ports {
    /// Some calls' worth of relay ports, and what SIP, HTTP and the phones need.
    pub(crate) const COUNT: u16 = 128;

    pub(crate) fn find() -> Self {
        // Below the range from which the kernel gives ports to others.
        const LOWEST: u16 = 10_000;
        const ROWS: u16 = 160;
        let is_free = |port| {
            UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
        };
        let claimed = |row| {
            let first = LOWEST + row * Self::COUNT;
            let last = first + Self::COUNT - 1;
            let claim = UdpSocket::bind(("127.0.0.1", last)).ok()?;
            (first..last).all(is_free).then_some(Self { first, next: first, _claim: claim })
        };
        (0..ROWS).find_map(claimed).expect("there are free ports")
    }

    /// The next `count` of them. Even counts only, so that RTP gets its even ports.
    pub(crate) fn take(&mut self, count: u16) -> Range<u16> {
        let taken = self.next..self.next + count;
        self.next = taken.end;
        assert!(count.is_multiple_of(2) && self.next < self.first + Self::COUNT);
        taken
    }
}

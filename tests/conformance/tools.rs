//! Programs that others wrote: started, waited for, and ended.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the repository is.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub(crate) fn script(name: &str) -> PathBuf {
    root().join("tests/conformance").join(name)
}

/// The Python that `./test` has furnished.
pub(crate) fn python() -> PathBuf {
    let python = root().join("target/conformance/venv/bin/python");
    assert!(python.exists(), "run ./test once: {} is missing", python.display());
    python
}

/// A port that nobody has, at this moment.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A program that ends with its value.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a server and waits until it listens.
    #[expect(clippy::disallowed_methods, reason = "the patience of a test with another's program")]
    pub(crate) fn listening_on(mut command: Command, address: SocketAddr) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let mut running = Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let until = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(address).is_err() {
            assert!(running.0.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(Instant::now() < until, "{command:?} does not listen");
            std::thread::sleep(Duration::from_millis(100));
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

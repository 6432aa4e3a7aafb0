//! SIPp as a phone that signals keys by SIP INFO and talks meanwhile. It is told what to press over the command
//! socket of its third-party call control; the scenario is `info_customer.xml`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::PhoneParts;
use crate::ear::Sound;
use crate::process::{Program, output};
use crate::{PATIENCE, until};

/// A person's pace, a quick one: faster than twelve keys a second is none.
const KEY_EVERY: Duration = Duration::from_millis(100);
/// Ends each command on the socket.
const END: u8 = 0x1b;

pub(crate) struct InfoPhone {
    program: Program,
    commands: BufReader<TcpStream>,
    call_id: String,
    rtp: Range<u16>,
    sip: u16,
}

impl InfoPhone {
    /// Calls, and waits until the call stands.
    pub(crate) fn calls(parts: &PhoneParts, user: &str, server: SocketAddr) -> Self {
        write_mu_law(&parts.speech, &parts.directory);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = |port: u16| port.to_string();
        let mut sipp = Command::new("sipp");
        sipp.arg(server.to_string())
            .args(["-sf", concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/phones/info_customer.xml")])
            .args(["-s", user, "-i", "127.0.0.1", "-p", &port(parts.sip)])
            .args(["-mp", &port(parts.rtp.start)])
            .args(["-3pcc", &listener.local_addr().unwrap().to_string()])
            .args(["-m", "1", "-nostdin"])
            .current_dir(&parts.directory);
        let program = Program::start("SIPp", &mut sipp, &parts.directory.join("phone.log"));
        let (commands, _) = until("SIPp is there", || listener.accept().ok());
        commands.set_nonblocking(false).unwrap();
        commands.set_read_timeout(Some(PATIENCE)).unwrap();
        let commands = BufReader::new(commands);
        let mut phone =
            Self { program, commands, call_id: String::new(), rtp: parts.rtp.clone(), sip: parts.sip };
        let ready = phone.hears("Ready");
        let call_id = ready.lines().find_map(|line| line.trim().strip_prefix("Call-ID:"));
        call_id.unwrap().trim().clone_into(&mut phone.call_id);
        phone
    }

    pub(crate) fn sends_infos(&mut self, keys: &str) {
        for key in keys.chars() {
            self.tells(key);
            self.hears("Sent");
            std::thread::sleep(KEY_EVERY);
        }
    }

    /// As a machine would: one key follows the other at once.
    pub(crate) fn sends_infos_at_once(&mut self, keys: &str) {
        for key in keys.chars() {
            self.tells(key);
            self.hears("Sent");
        }
    }

    pub(crate) fn hangs_up(&mut self) {
        self.tells('x');
        assert!(self.program.ends().success(), "{}", self.program.log());
    }

    pub(crate) fn rtp(&self) -> Range<u16> {
        self.rtp.clone()
    }

    pub(crate) fn sip(&self) -> u16 {
        self.sip
    }

    fn tells(&mut self, key: char) {
        let message = format!("Call-ID: {}\r\nKey: {key}\r\n\r\n\x1b", self.call_id);
        self.commands.get_mut().write_all(message.as_bytes()).unwrap();
    }

    fn hears(&mut self, word: &str) -> String {
        let mut message = Vec::new();
        let read = self.commands.read_until(END, &mut message);
        let message = String::from_utf8_lossy(&message).into_owned();
        assert!(matches!(read, Ok(n) if n > 0) && message.contains(word), "{}", self.program.log());
        message
    }
}

/// SIPp plays a file without a header; it looks for it where it runs.
fn write_mu_law(speech: &Sound, directory: &Path) {
    let raw = directory.join("speech.raw");
    fs::write(&raw, speech.to_raw()).unwrap();
    output(
        Command::new("sox")
            .args(["-t", "raw", "-r", "8000", "-b", "16", "-e", "signed", "-c", "1"])
            .arg(&raw)
            .args(["-t", "ul"])
            .arg(directory.join("speech.ulaw")),
    );
}

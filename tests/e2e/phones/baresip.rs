//! baresip, a telephone without a sound card: it talks from a WAV file and writes what it hears to another. It is
//! told what to do over its control port (netstrings of JSON).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::PhoneParts;
use crate::ear::Sound;
use crate::process::Program;
use crate::sound::{tones_then, write_wav};
use crate::until;

pub(crate) struct Baresip {
    parts: PhoneParts,
    program: Program,
    control: TcpStream,
    /// The types of the events that it told so far.
    events: Arc<Mutex<Vec<String>>>,
    typed: usize,
}

impl Baresip {
    /// Starts it. It answers whoever calls.
    pub(crate) fn start(parts: PhoneParts) -> Self {
        let account = format!("<{}>;regint=0;answermode=auto;audio_codecs={}\n", parts.uri(), parts.codecs);
        Self::start_as(parts, &account)
    }

    /// Starts it with this line in its file of accounts.
    pub(crate) fn start_as(parts: PhoneParts, account: &str) -> Self {
        let directory = &parts.directory;
        let speech = directory.join("speech.wav");
        write_wav(&parts.speech, &speech);
        fs::write(directory.join("config"), config(&parts, &speech)).unwrap();
        fs::write(directory.join("accounts"), account).unwrap();
        fs::write(directory.join("contacts"), "").unwrap();
        let log = directory.join("phone.log");
        let program = Program::start(parts.name, Command::new("baresip").arg("-f").arg(directory), &log);
        let control = SocketAddr::from(([127, 0, 0, 1], parts.control));
        let control = until("baresip's control port", || TcpStream::connect(control).ok());
        let events = Arc::<Mutex<Vec<String>>>::default();
        let (reader, told) = (control.try_clone().unwrap(), events.clone());
        std::thread::spawn(move || read_events(BufReader::new(reader), &told));
        Self { parts, program, control, events, typed: 0 }
    }

    /// Calls, and waits until the call stands.
    pub(crate) fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
        until("the call stands", || {
            assert!(!self.was_told("CALL_CLOSED"), "the call was refused: {}", self.program.log());
            self.was_told("CALL_ESTABLISHED").then_some(())
        });
    }

    pub(crate) fn sends_events(&mut self, keys: &str) {
        self.command("sndcode", keys);
    }

    pub(crate) fn sends_tones(&mut self, keys: &str) {
        self.typed += 1;
        let file = self.parts.directory.join(format!("keys-{}.wav", self.typed));
        write_wav(&tones_then(keys, &self.parts.speech), &file);
        self.command("ausrc", &format!("aufile,{}", file.display()));
    }

    pub(crate) fn hangs_up(&mut self) {
        self.command("hangup", "");
        self.waits_for_the_end();
    }

    /// Offers its session description again, in the call.
    pub(crate) fn renegotiates(&mut self) {
        self.command("reinvite", "");
    }

    pub(crate) fn holds(&mut self) {
        self.command("hold", "");
    }

    pub(crate) fn resumes(&mut self) {
        self.command("resume", "");
    }

    /// It is known to its registrar.
    pub(crate) fn waits_for_its_registration(&self) {
        until("the phone is registered", || self.log().contains("[1 binding]").then_some(()));
    }

    /// The call is over, whoever ended it.
    pub(crate) fn waits_for_the_end(&self) {
        until("the call is over", || self.was_told("CALL_CLOSED").then_some(()));
    }

    pub(crate) fn is_in_a_call(&self) -> bool {
        self.was_told("CALL_ESTABLISHED") && !self.was_told("CALL_CLOSED")
    }

    pub(crate) fn rtp(&self) -> Range<u16> {
        self.parts.rtp.clone()
    }

    pub(crate) fn sip(&self) -> u16 {
        self.parts.sip
    }

    /// All that it wrote down: also the keys that it was told of, if any.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// What came out of its earpiece, after the call.
    pub(crate) fn heard(&self) -> Sound {
        let files = fs::read_dir(&self.parts.directory).unwrap().map(|entry| entry.unwrap().path());
        let mut heard: Vec<PathBuf> =
            files.filter(|file| file.to_string_lossy().ends_with("-dec.wav")).collect();
        heard.sort();
        let samples = heard.iter().flat_map(|file| Sound::from_wav(file).samples).collect();
        Sound { samples }
    }

    fn was_told(&self, event: &str) -> bool {
        self.events.lock().unwrap().iter().any(|told| told == event)
    }

    fn command(&mut self, command: &str, params: &str) {
        let text = json!({ "command": command, "params": params }).to_string();
        write!(self.control, "{}:{text},", text.len()).unwrap();
    }
}

fn config(parts: &PhoneParts, speech: &Path) -> String {
    let PhoneParts { directory, sip, rtp, control, .. } = parts;
    let (directory, speech) = (directory.display(), speech.display());
    let (first, last) = (rtp.start, rtp.end - 1);
    format!(
        "poll_method epoll
sip_listen 127.0.0.1:{sip}
net_interface 127.0.0.1
rtp_ports {first}-{last}
audio_source aufile,{speech}
audio_player aubridge,nil
audio_alert aubridge,nil
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
statmode_default off
snd_path {directory}
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"
    )
}

/// Netstrings, one after the other: `12:{"a":"b"…},`.
fn read_events(mut reader: impl BufRead, events: &Mutex<Vec<String>>) {
    loop {
        let mut length = Vec::new();
        if !matches!(reader.read_until(b':', &mut length), Ok(n) if n > 0) {
            return;
        }
        let length = String::from_utf8_lossy(&length);
        let Ok(length) = length.trim_end_matches(':').parse::<usize>() else { return };
        let mut text = vec![0; length + 1];
        if reader.read_exact(&mut text).is_err() {
            return;
        }
        let message: Value = serde_json::from_slice(&text[..length]).unwrap_or_default();
        if let Some(event) = message["type"].as_str() {
            events.lock().unwrap().push(event.to_owned());
        }
    }
}

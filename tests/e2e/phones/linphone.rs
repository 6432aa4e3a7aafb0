//! linphonec, a telephone on a command line: it talks from a WAV file and is told what to do on its standard input.

use std::fs;
use std::io::Write;
use std::process::{ChildStdin, Command};
use std::time::Duration;

use super::PhoneParts;
use crate::process::Program;
use crate::sound::write_wav;
use crate::until;

/// Between two keys: linphone sends one INFO at a time, 250 ms long, and forgets those that come meanwhile.
const KEY_EVERY: Duration = Duration::from_millis(400);

pub(crate) struct Linphone {
    parts: PhoneParts,
    program: Program,
    keyboard: ChildStdin,
}

impl Linphone {
    /// Starts it with this configuration.
    pub(crate) fn start(parts: PhoneParts, configuration: &str) -> Self {
        let speech = parts.directory.join("speech.wav");
        write_wav(&parts.speech, &speech);
        fs::create_dir_all(parts.directory.join(".local/share/linphone")).unwrap();
        let file = parts.directory.join("linphonerc");
        fs::write(&file, configuration).unwrap();
        let mut command = Command::new("linphonec");
        command.arg("-c").arg(&file).env("HOME", &parts.directory);
        let log = parts.directory.join("phone.log");
        let (program, keyboard) = Program::start_told("linphonec", &mut command, &log);
        let mut phone = Self { parts, program, keyboard };
        phone.types("soundcard use files");
        phone.types(&format!("play {}", speech.display()));
        phone
    }

    /// Calls, and waits until the call stands.
    pub(crate) fn dial(&mut self, uri: &str) {
        self.types(&format!("call {uri}"));
        self.says("connected.");
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        for key in keys.chars() {
            self.types(&key.to_string());
            std::thread::sleep(KEY_EVERY);
        }
    }

    pub(crate) fn hangs_up(&mut self) {
        self.types("terminate");
        self.says("ended");
    }

    /// Where its audio comes in.
    pub(crate) fn rtp(&self) -> std::ops::Range<u16> {
        self.parts.rtp.clone()
    }

    fn says(&self, word: &str) {
        until(&format!("linphone says {word:?}"), || self.program.log().contains(word).then_some(()));
    }

    fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }
}

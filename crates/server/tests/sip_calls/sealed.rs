//! SRTP: baresip with keys in its description on one end, a plain phone on the other.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use hushpad::calls::CallsConfig;
use hushpad_telephony::call::Wish;
use hushpad_telephony::g711::Law;
use hushpad_telephony::key_queue::KeyQueue;

use crate::desk::{Desk, free_address, until};
use crate::phone::Phone;
use crate::rtp::Audio;

/// baresip, speaking a tone of 440 Hz, told what to do over its control port.
struct Baresip {
    child: Child,
    control: TcpStream,
    folder: tempfile::TempDir,
    sip: SocketAddr,
}

impl Baresip {
    async fn start(encryption: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sip, control, rtp) = (free_address(), free_address(), free_address().port() & !1);
        let config = format!(
            "poll_method epoll\nsip_listen {sip}\nnet_interface 127.0.0.1\nrtp_ports {rtp}-{}\n\
             audio_source aufile,{}\naudio_player aubridge,nil\naudio_alert aubridge,nil\n\
             ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule srtp.so\nmodule aufile.so\n\
             module aubridge.so\nmodule_tmp account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
             ctrl_tcp_listen {control}\n",
            rtp + 8,
            folder.path().join("tone.wav").display(),
        );
        let account = format!(
            "<sip:customer@{sip}>;regint=0;answermode=auto;audio_codecs=PCMU;mediaenc={encryption}\n"
        );
        for (name, text) in [("config", config.as_str()), ("accounts", &account), ("contacts", "")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        std::fs::write(folder.path().join("tone.wav"), tone_wav()).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("baresip");
        command.arg("-f").arg(folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("baresip is installed");
        let mut found = None;
        until("baresip's control port", || {
            found = TcpStream::connect(control).ok();
            found.is_some()
        })
        .await;
        Self { child, control: found.unwrap(), folder, sip }
    }

    fn told(&mut self, command: &str, params: &str) {
        let text = format!("{{\"command\":\"{command}\",\"params\":\"{params}\"}}");
        write!(self.control, "{}:{text},", text.len()).unwrap();
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// 20 s of 440 Hz, 16 bits at 8 kHz.
fn tone_wav() -> Vec<u8> {
    let samples = (0..160_000).flat_map(|n| {
        let at = f64::from(n) * 440.0 / 8000.0 * std::f64::consts::TAU;
        ((at.sin() * 8000.0) as i16).to_le_bytes()
    });
    let mut wav =
        b"RIFF\x24\xe2\x04\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    wav.extend(320_000_u32.to_le_bytes());
    wav.extend(samples);
    wav
}

/// How much of the sound is at 440 Hz, from 0 to 1.
fn share_of_440_hz(payload: &[u8]) -> f64 {
    let samples: Vec<f64> = payload.iter().map(|byte| f64::from(Law::Mu.decode(*byte))).collect();
    let at = |n: usize| n as f64 * 440.0 / 8000.0 * std::f64::consts::TAU;
    let part =
        |f: fn(f64) -> f64| samples.iter().enumerate().map(|(n, sample)| sample * f(at(n))).sum::<f64>();
    let energy: f64 = samples.iter().map(|sample| sample * sample).sum();
    2.0 * (part(f64::sin).powi(2) + part(f64::cos).powi(2)) / samples.len() as f64 / energy
}

async fn desk(srtp: Wish) -> Desk {
    desk_with(srtp, |config| config.sdes_without_tls = true).await
}

async fn desk_with(srtp: Wish, change: impl FnOnce(&mut CallsConfig)) -> Desk {
    Desk::start_with(|config| {
        config.peers[0].srtp = srtp;
        change(config);
    })
    .await
}

#[tokio::test]
async fn baresip_with_srtp_speaks_with_a_plain_phone_and_its_keys_are_hidden() {
    let desk = desk(Wish::Optional).await;
    let agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
    let mut agent_audio = Audio::open().await;
    let mut agent = agent;
    agent.speaks_at(agent_audio.address());
    let mut customer = Baresip::start("srtp-mand").await;
    customer.told("dial", &format!("sip:agent1@{}", desk.sip()));
    let invite = agent.hears("INVITE").await;
    assert!(invite.0.contains("RTP/AVP ") && invite.0.contains("a=crypto:1 "), "{}", invite.0);
    agent_audio.reaches(&invite);
    // This phone knows nothing of SRTP, and answers without a key.
    agent.answers(&invite, "200 OK").await;
    let call = desk.live_call("agent1").await;
    for _ in 0..5 {
        let sound = agent_audio.hears_sound().await;
        assert!(share_of_440_hz(&sound) > 0.9, "the agent hears what was said");
        agent_audio.says().await;
    }
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    agent_audio.hears_sound().await;
    agent_audio.forget();
    customer.told("sndcode", "42");
    let mut typed = String::new();
    until("both keys are there", || {
        typed.extend(std::iter::from_fn(|| keys.pop()).map(|report| char::from(report.key.ascii())));
        typed.len() == 2
    })
    .await;
    assert_eq!(typed, "42");
    for _ in 0..5 {
        agent_audio.hears_audio().await;
    }
    assert_eq!(agent_audio.events(), 0);
    let stats = call.stats().await.unwrap();
    assert_eq!(stats.customer.dropped.unauthentic, 0);
    assert!(stats.customer.sent >= 5, "what the agent said went out");
    call.hang_up().await;
    assert!(
        !customer.log().contains("crypt failed") && !customer.log().contains("auth"),
        "{}",
        customer.log()
    );
}

#[tokio::test]
async fn a_phone_that_insists_on_srtp_is_called_with_it() {
    let desk = desk(Wish::Required).await;
    let mut phone = Baresip::start("srtp-mand").await;
    let mut customer = Baresip::start("srtp-mand").await;
    let call = {
        // Whoever dials this user reaches the phone's own port.
        customer.told("dial", &format!("sip:agent-at-{}@{}", phone.sip.port(), desk.sip()));
        desk.live_call(&format!("agent-at-{}", phone.sip.port())).await
    };
    let mut both_heard = false;
    while !both_heard {
        let stats = call.stats().await.unwrap();
        both_heard = stats.customer.received > 5 && stats.agent.received > 5;
        assert_eq!((stats.customer.dropped.unauthentic, stats.agent.dropped.unauthentic), (0, 0));
        tokio::task::yield_now().await;
    }
    phone.told("hangup", "");
    desk.is_quiet().await;
}

#[tokio::test]
async fn where_srtp_is_required_nothing_else_is_taken() {
    let desk = desk(Wish::Required).await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    customer.invite("agent1", None).await;
    customer.hears("SIP/2.0 488").await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn keys_do_not_go_over_sip_that_anybody_can_read() {
    let required = desk_with(Wish::Required, |_| {}).await;
    let mut customer = Phone::at("127.0.0.1:0", required.sip()).await;
    customer.invite("agent1", None).await;
    customer.hears("SIP/2.0 488").await;
    let optional = desk_with(Wish::Optional, |_| {}).await;
    let agent = Phone::at(&optional.agent.to_string(), optional.sip()).await;
    let mut customer = Phone::at("127.0.0.1:0", optional.sip()).await;
    customer.invite("agent1", None).await;
    let invite = agent.hears("INVITE").await;
    assert!(!invite.0.contains("crypto"), "{}", invite.0);
}

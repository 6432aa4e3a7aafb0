//! The call core under any order of events: it never passes a key on in secure mode, never speaks after the end,
//! and what it says is bounded.

use std::net::SocketAddr;

use hushpad_telephony::call::{
    Addresses, Call, CallEvent, Input, Leg, Limits, Output, Plan, Refresher, RequestId, SessionTimer,
    TimerFields, Wish,
};
use hushpad_telephony::srtp::KeySource;

use super::Script;

const LIMITS: Limits = Limits { ring_time_out_ms: 30_000, max_duration_ms: 600_000, session_expires_s: 1800 };
/// Answers to one input: a handful of words on two legs and what the rest of the program is told.
const MOST_OUTPUTS: usize = 16;
const OFFER: &[u8] = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
const HOLD: &[u8] = b"v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 8\r\na=sendonly\r\n";

/// See the module.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let at = |port| SocketAddr::from(([198, 51, 100, 7], port));
    let addresses = Addresses { caller: at(40_000), callee: at(40_002) };
    let customer = if script.flag() { Leg::Callee } else { Leg::Caller };
    let offer = description(&mut script);
    let srtp = [if script.flag() { Wish::Optional } else { Wish::Off }; 2];
    let keys = KeySource::new([7; 32]);
    let plan = Plan { limits: LIMITS, customer, addresses, session_ids: [1, 2], srtp, keys, timer: None };
    let begun = Call::begin(0, plan, offer);
    let Ok((mut call, mut outputs)) = begun else { return };
    let (mut now_ms, mut secured, mut ended) = (0, false, false);
    loop {
        check(&outputs, secured, ended);
        ended |= outputs.iter().any(|output| matches!(output, Output::Event(CallEvent::Ended(_))));
        if script.is_over() {
            return;
        }
        now_ms += u64::from(script.byte()) * 500;
        let input = input(&mut script);
        if let Input::Secure(on) = input {
            secured = on;
        }
        // An answer that crosses our giving up is hung up.
        let crosses = matches!(input, Input::Answered { .. } | Input::TransferAnswered { .. });
        outputs = call.handle(now_ms, input);
        if ended && crosses {
            outputs.retain(|output| !matches!(output, Output::Bye { leg: Leg::Callee }));
        }
    }
}

fn check(outputs: &[Output], secured: bool, ended: bool) {
    assert!(outputs.len() <= MOST_OUTPUTS, "{} outputs", outputs.len());
    for output in outputs {
        assert!(!(secured && matches!(output, Output::Info { .. })), "a key is passed on");
        // Who asks a call that is over still gets an answer.
        assert!(!ended || matches!(output, Output::Respond { .. }), "said after the end: {output:?}");
        if let Output::Reject { code } | Output::Respond { code, .. } = output {
            assert!((100..700).contains(code), "{code}");
        }
        if let Output::Event(CallEvent::Key(_)) = output {
            assert!(secured, "a key is captured outside secure mode");
        }
    }
}

fn input<'a>(script: &mut Script<'a>) -> Input<'a> {
    let leg = if script.flag() { Leg::Caller } else { Leg::Callee };
    let request = RequestId(u64::from(script.byte()));
    match script.below(16) {
        0 => Input::Progress { sdp: description(script) },
        1 | 2 => Input::Answered { sdp: description(script), timer: timer(script) },
        3 => Input::Refused { code: failure(script), timer: timer(script) },
        4 => Input::Cancelled,
        5 => Input::Acked { leg, sdp: description(script) },
        6 => Input::Bye { leg },
        7 => Input::Lost { leg },
        8 => {
            let (sdp, update) = (description(script), script.flag());
            Input::Modify { leg, request, sdp, update, timer: timer(script) }
        }
        9 => {
            let (code, sdp) = (200 + script.word() % 500, description(script));
            Input::ModifyAnswered { leg, code, sdp, timer: timer(script) }
        }
        10 => {
            let content_type =
                ["application/dtmf-relay", "application/dtmf", "text/plain"][usize::from(script.below(3))];
            Input::Info { leg, request, content_type, body: script.text() }
        }
        11 => Input::InfoAnswered { leg, request, code: 200 + script.word() % 500 },
        12 => Input::Refer { leg, request, allowed: script.flag().then_some(Wish::Optional) },
        13 => match script.flag() {
            true => Input::TransferAnswered { sdp: description(script), timer: timer(script) },
            false => Input::TransferRefused { code: failure(script) },
        },
        14 => Input::Secure(script.flag()),
        _ => match script.below(8) {
            0 => Input::HangUp,
            _ => Input::Time,
        },
    }
}

fn description<'a>(script: &mut Script<'a>) -> Option<&'a [u8]> {
    match script.below(5) {
        0 => None,
        1 => Some(HOLD),
        2 => Some(script.text()),
        _ => Some(OFFER),
    }
}

fn timer(script: &mut Script<'_>) -> TimerFields {
    let refresher = [None, Some(Refresher::Uac), Some(Refresher::Uas)][usize::from(script.below(3))];
    let session = script.flag().then(|| SessionTimer { expires_s: u32::from(script.word()), refresher });
    let min_se_s = script.flag().then(|| u32::from(script.word()));
    TimerFields { session, min_se_s, supported: script.flag() }
}

fn failure(script: &mut Script<'_>) -> u16 {
    300 + script.word() % 400
}

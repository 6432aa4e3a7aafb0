//! Calls as scripts: what comes in on the left, what goes out on the right.

use super::*;

mod transfers;

const PHONE: &str = "v=0\r\no=p 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n\
                     m=audio 5004 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
const LIMITS: Limits =
    Limits { ring_time_out_ms: 60_000, max_duration_ms: 3_600_000, session_expires_s: 1800 };
const NO_TIMER: TimerFields = TimerFields { session: None, min_se_s: None, supported: false };

fn phone(direction: &str) -> Vec<u8> {
    format!("{PHONE}a={direction}\r\n").into_bytes()
}

fn timer(value: &str) -> TimerFields {
    TimerFields { session: SessionTimer::read(value), min_se_s: None, supported: true }
}

/// A call and its clock.
struct Script {
    call: Call,
    now_ms: u64,
}

impl Script {
    fn dialled() -> (Self, Vec<String>) {
        Self::dialled_with(Some(&phone("sendrecv")), None)
    }

    fn dialled_with(offer: Option<&[u8]>, timer: Option<SessionTimer>) -> (Self, Vec<String>) {
        let addresses = Addresses {
            caller: "198.51.100.1:40000".parse().unwrap(),
            callee: "198.51.100.1:40002".parse().unwrap(),
        };
        let plan = Plan {
            limits: LIMITS,
            customer: Leg::Caller,
            addresses,
            session_ids: [1, 2],
            srtp: [Wish::Off; 2],
            keys: KeySource::new([0; 32]),
            timer,
        };
        let (call, out) = Call::begin(0, plan, offer).unwrap();
        (Self { call, now_ms: 0 }, told(&out))
    }

    /// Answered and acknowledged, at zero.
    fn talking() -> Self {
        Self::talking_with(None, NO_TIMER)
    }

    fn talking_with(caller: Option<SessionTimer>, callee: TimerFields) -> Self {
        let (mut script, _) = Self::dialled_with(Some(&phone("sendrecv")), caller);
        script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: callee });
        script.takes(Input::Acked { leg: Leg::Caller, sdp: None });
        script
    }

    fn takes(&mut self, input: Input<'_>) -> Vec<String> {
        told(&self.call.handle(self.now_ms, input))
    }

    fn at(&mut self, now_ms: u64, input: Input<'_>) -> Vec<String> {
        self.now_ms = now_ms;
        self.takes(input)
    }

    fn modify(&mut self, leg: Leg, request: u64, sdp: Option<&[u8]>) -> Vec<String> {
        self.takes(Input::Modify { leg, request: RequestId(request), sdp, update: false, timer: NO_TIMER })
    }

    fn modify_answered(&mut self, leg: Leg, code: u16, sdp: Option<&[u8]>) -> Vec<String> {
        self.takes(Input::ModifyAnswered { leg, code, sdp, timer: NO_TIMER })
    }

    fn refer(&mut self, allowed: bool) -> Vec<String> {
        self.takes(Input::Refer {
            leg: Leg::Callee,
            request: RequestId(9),
            allowed: allowed.then_some(Wish::Off),
        })
    }

    fn replace(&mut self, leg: Leg, sdp: Option<&[u8]>) -> Vec<String> {
        self.takes(Input::Replace { leg, sdp, timer: None, srtp: Wish::Off })
    }

    fn next_answers(&mut self, direction: &str) -> Vec<String> {
        self.takes(Input::TransferAnswered { sdp: Some(&phone(direction)), timer: NO_TIMER })
    }

    fn key(&mut self, leg: Leg, body: &[u8]) -> Vec<String> {
        let content_type = "application/dtmf-relay";
        self.takes(Input::Info { leg, request: RequestId(7), content_type, body })
    }
}

fn told(outputs: &[Output]) -> Vec<String> {
    outputs.iter().map(line).collect()
}

fn line(output: &Output) -> String {
    let says = |sdp: &Option<Vec<u8>>| sdp.as_deref().map(direction).unwrap_or_default();
    let timer_of = |timer: &Option<SessionTimer>| timer.map(|t| format!(" {t}")).unwrap_or_default();
    match output {
        Output::Ring { sdp: None } => "ring".to_owned(),
        Output::Ring { sdp } => format!("early media{}", says(sdp)),
        Output::Answer { sdp, timer } => format!("answer{}{}", direction(sdp), timer_of(timer)),
        Output::Reject { code } => format!("reject {code}"),
        Output::Invite { sdp, timer } => format!("invite{} {timer}", direction(sdp)),
        Output::Cancel => "cancel".to_owned(),
        Output::Bye { leg } => format!("bye {}", leg.name()),
        Output::Modify { leg, sdp, timer } => {
            format!("re-invite {}{}{}", leg.name(), direction(sdp), timer_of(timer))
        }
        Output::Respond { leg, request, code, sdp, timer } => {
            format!("respond {} #{} {code}{}{}", leg.name(), request.0, says(sdp), timer_of(timer))
        }
        Output::Info { from, request, .. } => format!("info from {} #{}", from.name(), request.0),
        Output::Notify { leg, code, last } => {
            format!("notify {} {code}{}", leg.name(), if *last { " last" } else { "" })
        }
        Output::InviteNext { sdp, .. } => format!("invite next{}", direction(sdp)),
        Output::CancelNext => "cancel next".to_owned(),
        Output::AnswerNext { sdp, timer } => format!("answer next{}{}", direction(sdp), timer_of(timer)),
        Output::RejectNext { code } => format!("respond next {code}"),
        Output::Adopt { leg } => format!("adopt {}", leg.name()),
        Output::SetLeg { leg, agreed } => format!("set {} {:?}", leg.name(), agreed.direction),
        Output::Event(CallEvent::Transferred { leg }) => format!("transferred {}", leg.name()),
        Output::Event(event) => format!("{event:?}"),
    }
}

/// The direction of a description of ours, which must name our address and nobody else's.
fn direction(sdp: &[u8]) -> String {
    let text = std::str::from_utf8(sdp).unwrap();
    assert!(text.contains("c=IN IP4 198.51.100.1\r\n") && !text.contains("10.0.0"), "{text}");
    let known = ["sendrecv", "sendonly", "recvonly", "inactive"];
    format!(" {}", known.iter().find(|name| text.contains(&format!("a={name}\r\n"))).unwrap())
}

#[test]
fn a_plain_call_rings_is_answered_and_is_hung_up_by_the_customer() {
    let (mut script, first) = Script::dialled();
    assert_eq!(first, ["invite sendrecv 1800"]);
    assert_eq!(script.takes(Input::Progress { sdp: None }), ["ring", "Ringing"]);
    assert!(script.takes(Input::Progress { sdp: None }).is_empty());
    assert_eq!(
        script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER }),
        ["set callee SendRecv", "set caller SendRecv", "answer sendrecv", "Answered"]
    );
    assert!(script.call.is_live());
    assert!(script.takes(Input::Acked { leg: Leg::Caller, sdp: None }).is_empty());
    assert_eq!(script.takes(Input::Bye { leg: Leg::Caller }), ["bye callee", "Ended(HungUpBy(Caller))"]);
    assert!(script.call.is_ended() && script.call.deadline_ms().is_none());
}

#[test]
fn byes_that_cross_end_the_call_once() {
    let mut script = Script::talking();
    assert_eq!(script.takes(Input::Bye { leg: Leg::Callee }), ["bye caller", "Ended(HungUpBy(Callee))"]);
    assert!(script.takes(Input::Bye { leg: Leg::Caller }).is_empty());
    assert!(script.takes(Input::HangUp).is_empty());
}

#[test]
fn our_bye_to_the_customer_waits_for_the_ack() {
    let (mut script, _) = Script::dialled();
    script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER });
    assert!(script.takes(Input::Bye { leg: Leg::Callee }).is_empty());
    assert_eq!(
        script.takes(Input::Acked { leg: Leg::Caller, sdp: None }),
        ["bye caller", "Ended(HungUpBy(Callee))"]
    );
}

#[test]
fn an_ack_that_never_comes_ends_the_call() {
    let (mut script, _) = Script::dialled();
    script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER });
    assert_eq!(script.takes(Input::Lost { leg: Leg::Caller }), ["bye callee", "Ended(Lost(Caller))"]);
}

#[test]
fn a_cancel_reaches_the_agent_and_a_200_that_crosses_it_is_hung_up() {
    let (mut script, _) = Script::dialled();
    assert_eq!(script.takes(Input::Cancelled), ["cancel", "Ended(Cancelled)"]);
    assert_eq!(
        script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER }),
        ["bye callee"]
    );
}

#[test]
fn a_cancel_that_comes_after_our_200_changes_nothing() {
    let (mut script, _) = Script::dialled();
    script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER });
    assert!(script.takes(Input::Cancelled).is_empty());
    assert!(script.call.is_live());
}

#[test]
fn nobody_answers_within_the_ring_time() {
    let (mut script, _) = Script::dialled();
    assert_eq!(script.call.deadline_ms(), Some(60_000));
    assert!(script.at(59_999, Input::Time).is_empty());
    assert_eq!(script.at(60_000, Input::Time), ["cancel", "reject 480", "Ended(NoAnswer)"]);
}

#[test]
fn refusals_reach_the_customer_but_not_those_meant_for_us() {
    let cases =
        [(486, 486), (404, 404), (408, 480), (407, 480), (302, 480), (600, 486), (603, 603), (503, 500)];
    for (from_agent, to_customer) in cases {
        let (mut script, _) = Script::dialled();
        let out = script.takes(Input::Refused { code: from_agent, timer: NO_TIMER });
        assert_eq!(out, [format!("reject {to_customer}"), format!("Ended(Refused({from_agent}))")]);
    }
}

#[test]
fn a_longer_interval_is_offered_when_the_agents_side_wants_it() {
    let (mut script, _) = Script::dialled();
    let wanted = TimerFields { min_se_s: Some(3600), ..NO_TIMER };
    assert_eq!(script.takes(Input::Refused { code: 422, timer: wanted }), ["invite sendrecv 3600"]);
    assert_eq!(script.takes(Input::Refused { code: 422, timer: wanted }), ["invite sendrecv 3600"]);
    assert_eq!(
        script.takes(Input::Refused { code: 422, timer: wanted }),
        ["reject 422", "Ended(Refused(422))"]
    );
}

#[test]
fn early_media_reaches_the_customer_and_the_answer_repeats_it() {
    let (mut script, _) = Script::dialled();
    script.takes(Input::Progress { sdp: None });
    assert_eq!(
        script.takes(Input::Progress { sdp: Some(&phone("sendrecv")) }),
        ["set callee SendRecv", "set caller SendRecv", "early media sendrecv"]
    );
    let out = script.takes(Input::Answered { sdp: None, timer: NO_TIMER });
    assert_eq!(out, ["answer sendrecv", "Answered"]);
}

#[test]
fn an_agent_without_usable_media_is_hung_up_and_the_customer_hears_488() {
    let (mut script, _) = Script::dialled();
    assert_eq!(
        script.takes(Input::Answered { sdp: Some(b"v=0\r\n"), timer: NO_TIMER }),
        ["bye callee", "reject 488", "Ended(Media)"]
    );
}

#[test]
fn an_invite_without_an_offer_is_answered_with_ours() {
    let (mut script, first) = Script::dialled_with(None, None);
    assert_eq!(first, ["invite sendrecv 1800"]);
    assert_eq!(
        script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER }),
        ["set callee SendRecv", "answer sendrecv", "Answered"]
    );
    let acked = Input::Acked { leg: Leg::Caller, sdp: Some(&phone("sendrecv")) };
    assert_eq!(script.takes(acked), ["set caller SendRecv"]);
}

#[test]
fn a_late_offer_that_gets_no_answer_ends_the_call() {
    let (mut script, _) = Script::dialled_with(None, None);
    script.takes(Input::Answered { sdp: Some(&phone("sendrecv")), timer: NO_TIMER });
    let out = script.takes(Input::Acked { leg: Leg::Caller, sdp: None });
    assert_eq!(out, ["bye callee", "bye caller", "Ended(Media)"]);
}

#[test]
fn hold_crosses_over_in_both_directions_and_back() {
    for (leg, other) in [(Leg::Caller, Leg::Callee), (Leg::Callee, Leg::Caller)] {
        let mut script = Script::talking();
        let (name, across) = (leg.name(), other.name());
        let out = script.modify(leg, 1, Some(&phone("sendonly")));
        assert_eq!(out, [format!("re-invite {across} sendonly")]);
        assert_eq!(
            script.modify_answered(other, 200, Some(&phone("recvonly"))),
            [
                format!("set {across} SendOnly"),
                format!("respond {name} #1 200 recvonly"),
                format!("set {name} RecvOnly"),
                format!("Held {{ by: {leg:?} }}"),
            ]
        );
        let out = script.modify(leg, 2, Some(&phone("sendrecv")));
        assert_eq!(out, [format!("re-invite {across} sendrecv")]);
        assert_eq!(
            script.modify_answered(other, 200, Some(&phone("sendrecv"))),
            [
                format!("set {across} SendRecv"),
                format!("respond {name} #2 200 sendrecv"),
                format!("set {name} SendRecv"),
                format!("Resumed {{ by: {leg:?} }}"),
            ]
        );
    }
}

#[test]
fn an_offer_that_moves_only_the_address_is_answered_by_us_alone() {
    let mut script = Script::talking();
    let moved = String::from_utf8(phone("sendrecv")).unwrap().replace("5004", "6004");
    let out = script.call.handle(
        0,
        Input::Modify {
            leg: Leg::Caller,
            request: RequestId(1),
            sdp: Some(moved.as_bytes()),
            update: true,
            timer: NO_TIMER,
        },
    );
    assert_eq!(told(&out), ["respond caller #1 200 sendrecv", "set caller SendRecv"]);
    let Some(Output::SetLeg { agreed, .. }) = out.last() else { panic!("no media") };
    assert_eq!(agreed.remote, Some("10.0.0.9:6004".parse().unwrap()));
}

#[test]
fn changes_from_both_sides_at_once_are_glare() {
    let mut script = Script::talking();
    script.modify(Leg::Caller, 1, Some(&phone("sendonly")));
    assert_eq!(script.modify(Leg::Callee, 2, Some(&phone("sendonly"))), ["respond callee #2 491"]);
    assert_eq!(script.modify_answered(Leg::Callee, 491, None), ["respond caller #1 491"]);
    // Nothing is stuck: the next try goes across again.
    let out = script.modify(Leg::Callee, 3, Some(&phone("sendonly")));
    assert_eq!(out, ["re-invite caller sendonly"]);
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    let mut script = Script::talking();
    script.modify(Leg::Caller, 1, Some(&phone("sendonly")));
    assert_eq!(script.modify_answered(Leg::Callee, 488, None), ["respond caller #1 488"]);
    assert_eq!(
        script.modify(Leg::Caller, 2, Some(&phone("sendrecv"))),
        ["respond caller #2 200 sendrecv", "set caller SendRecv"]
    );
}

#[test]
fn a_change_that_the_other_side_does_not_answer_ends_the_call() {
    let mut script = Script::talking();
    script.modify(Leg::Caller, 1, Some(&phone("sendonly")));
    assert_eq!(
        script.modify_answered(Leg::Callee, 408, None),
        ["respond caller #1 481", "bye caller", "Ended(Lost(Callee))"]
    );
}

#[test]
fn a_change_under_way_is_answered_when_the_call_ends() {
    let mut script = Script::talking();
    script.modify(Leg::Caller, 1, Some(&phone("sendonly")));
    assert_eq!(
        script.takes(Input::Bye { leg: Leg::Callee }),
        ["bye caller", "respond caller #1 487", "Ended(HungUpBy(Callee))"]
    );
}

#[test]
fn an_offer_we_cannot_read_is_refused_and_the_call_goes_on() {
    let mut script = Script::talking();
    assert_eq!(script.modify(Leg::Callee, 1, Some(b"m=what")), ["respond callee #1 488"]);
    assert!(script.call.is_live());
}

#[test]
fn a_re_invite_without_an_offer_gets_ours_and_its_ack_brings_the_answer() {
    let mut script = Script::talking();
    assert_eq!(script.modify(Leg::Callee, 1, None), ["respond callee #1 200 sendrecv"]);
    assert_eq!(script.modify(Leg::Callee, 2, None), ["respond callee #2 491"]);
    let acked = Input::Acked { leg: Leg::Callee, sdp: Some(&phone("sendrecv")) };
    assert_eq!(script.takes(acked), ["set callee SendRecv"]);
}

#[test]
fn our_version_grows_only_when_our_words_change() {
    let mut script = Script::talking();
    let version = |out: &[Output]| {
        let text = out.iter().find_map(|output| match output {
            Output::Respond { sdp: Some(sdp), .. } => Some(String::from_utf8(sdp.clone()).unwrap()),
            _ => None,
        });
        let origin = text.unwrap().lines().nth(1).unwrap().to_owned();
        origin.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    };
    let again = |script: &mut Script, body: &[u8]| {
        let (leg, request) = (Leg::Caller, RequestId(1));
        script.call.handle(0, Input::Modify { leg, request, sdp: Some(body), update: true, timer: NO_TIMER })
    };
    let first = version(&again(&mut script, &phone("sendrecv")));
    assert_eq!(version(&again(&mut script, &phone("sendrecv"))), first);
    let other = String::from_utf8(phone("sendrecv")).unwrap().replace("8 0 101", "0 101");
    assert_eq!(version(&again(&mut script, other.as_bytes())), first + 1);
}

#[test]
fn a_key_by_info_is_passed_on_outside_secure_mode() {
    let mut script = Script::talking();
    assert_eq!(script.key(Leg::Caller, b"Signal=5\r\nDuration=100"), ["info from caller #7"]);
    let answered = Input::InfoAnswered { leg: Leg::Caller, request: RequestId(7), code: 200 };
    assert_eq!(script.takes(answered), ["respond caller #7 200"]);
    assert_eq!(script.key(Leg::Callee, b"Signal=5"), ["info from callee #7"]);
}

#[test]
fn in_secure_mode_no_info_crosses_whatever_it_holds() {
    let mut script = Script::talking();
    script.takes(Input::Secure(true));
    assert_eq!(script.key(Leg::Caller, b"Signal=5"), ["Key(Key(•))", "respond caller #7 200"]);
    assert_eq!(script.key(Leg::Caller, b"Signal=16"), ["respond caller #7 200"]);
    assert_eq!(script.key(Leg::Caller, b"Signal=4111111111111111"), ["respond caller #7 400"]);
    assert_eq!(script.key(Leg::Callee, b"Signal=5"), ["respond callee #7 200"]);
    script.takes(Input::Secure(false));
    assert_eq!(script.key(Leg::Caller, b"Signal=5"), ["info from caller #7"]);
}

#[test]
fn an_info_of_another_kind_is_not_passed_on() {
    let mut script = Script::talking();
    let mut info = |content_type, body| {
        script.takes(Input::Info { leg: Leg::Caller, request: RequestId(1), content_type, body })
    };
    assert_eq!(info("application/media_control+xml", b"<x/>"), ["respond caller #1 415"]);
    assert_eq!(info("", b""), ["respond caller #1 200"]);
}

#[test]
fn we_refresh_both_sessions_at_half_their_time() {
    let ours = SessionTimer { expires_s: 600, refresher: Some(Refresher::Uas) };
    let mut script = Script::talking_with(Some(ours), timer("200;refresher=uac"));
    assert_eq!(script.call.deadline_ms(), Some(100_000));
    assert_eq!(script.at(100_000, Input::Time), ["re-invite callee sendrecv 200;refresher=uac"]);
    let answered = Input::ModifyAnswered {
        leg: Leg::Callee,
        code: 200,
        sdp: Some(&phone("sendrecv")),
        timer: timer("200;refresher=uac"),
    };
    assert_eq!(script.takes(answered), ["set callee SendRecv"]);
    assert_eq!(script.call.deadline_ms(), Some(200_000));
    script.at(200_000, Input::Time);
    script.takes(Input::ModifyAnswered {
        leg: Leg::Callee,
        code: 200,
        sdp: None,
        timer: timer("2000;refresher=uac"),
    });
    assert_eq!(script.at(300_000, Input::Time), ["re-invite caller sendrecv 600;refresher=uac"]);
}

#[test]
fn a_far_end_that_stops_refreshing_is_hung_up() {
    let mut script = Script::talking_with(None, timer("90;refresher=uas"));
    assert_eq!(script.call.deadline_ms(), Some(60_000));
    assert_eq!(script.at(60_000, Input::Time), ["bye callee", "bye caller", "Ended(Expired(Callee))"]);
}

#[test]
fn a_refresh_of_theirs_starts_the_time_anew() {
    let mut script = Script::talking_with(None, timer("90;refresher=uas"));
    script.now_ms = 50_000;
    let refresh = Input::Modify {
        leg: Leg::Callee,
        request: RequestId(1),
        sdp: None,
        update: true,
        timer: timer("90;refresher=uac"),
    };
    assert_eq!(script.takes(refresh), ["respond callee #1 200 90;refresher=uac"]);
    assert!(script.at(60_000, Input::Time).is_empty());
    assert_eq!(script.call.deadline_ms(), Some(110_000));
}

#[test]
fn a_refresh_that_meets_glare_is_tried_again_and_one_that_is_lost_ends_the_call() {
    let mut script = Script::talking_with(None, timer("200;refresher=uac"));
    script.at(100_000, Input::Time);
    assert!(script.modify_answered(Leg::Callee, 491, None).is_empty());
    let again_ms = script.call.deadline_ms().unwrap();
    assert!((102_100..104_000).contains(&again_ms), "{again_ms}");
    assert_eq!(script.at(again_ms, Input::Time), ["re-invite callee sendrecv 200;refresher=uac"]);
    assert_eq!(script.modify_answered(Leg::Callee, 481, None), ["bye caller", "Ended(Lost(Callee))"]);
}

#[test]
fn a_refresh_that_is_never_answered_does_not_outlive_the_session() {
    let mut script = Script::talking_with(None, timer("200;refresher=uac"));
    script.at(100_000, Input::Time);
    assert_eq!(script.call.deadline_ms(), Some(200_000));
    let out = script.at(200_000, Input::Time);
    assert_eq!(out, ["bye callee", "bye caller", "Ended(Expired(Callee))"]);
}

#[test]
fn an_interval_that_is_too_small_is_refused_with_the_smallest_allowed() {
    let mut script = Script::talking();
    let refresh = Input::Modify {
        leg: Leg::Caller,
        request: RequestId(1),
        sdp: None,
        update: true,
        timer: timer("30"),
    };
    assert_eq!(script.takes(refresh), ["respond caller #1 422 90"]);
}

#[test]
fn no_call_lasts_longer_than_allowed() {
    let mut script = Script::talking();
    assert_eq!(script.at(3_600_000, Input::Time), ["bye callee", "bye caller", "Ended(TooLong)"]);
}

#[test]
fn we_may_hang_up_at_any_time() {
    let (mut script, _) = Script::dialled();
    assert_eq!(script.takes(Input::HangUp), ["cancel", "reject 503", "Ended(HungUp)"]);
    let mut script = Script::talking();
    assert_eq!(script.takes(Input::HangUp), ["bye callee", "bye caller", "Ended(HungUp)"]);
}

/// Whatever happens in whatever order: no panic, one end at most, no INFO across in secure mode, and no
/// word on a leg after the end.
#[test]
fn random_walks_keep_the_rules() {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut script, _) = Script::dialled();
        let (mut secure, mut ends, mut request) = (false, 0, 0);
        for _ in 0..60 {
            let leg = if rng.random() { Leg::Caller } else { Leg::Callee };
            let names = ["sendrecv", "sendonly", "recvonly", "inactive"];
            let body = phone(names[rng.random_range(0..4)]);
            let sdp = if rng.random_bool(0.8) { Some(body.as_slice()) } else { None };
            let timer = if rng.random() { NO_TIMER } else { timer("90;refresher=uas") };
            let code = [200, 408, 481, 488, 491][rng.random_range(0..5)];
            request += 1;
            let id = RequestId(request);
            let input = match rng.random_range(0..20) {
                0 => Input::Progress { sdp },
                1 | 2 => Input::Answered { sdp, timer },
                3 | 4 => Input::Acked { leg, sdp },
                5 if rng.random_bool(0.1) => Input::Bye { leg },
                6 if rng.random_bool(0.1) => Input::Refused { code: 486, timer },
                7 if rng.random_bool(0.1) => Input::Cancelled,
                8 | 9 => Input::Modify { leg, request: id, sdp, update: rng.random(), timer },
                10 | 11 => Input::ModifyAnswered { leg, code, sdp, timer },
                12 => {
                    secure = !secure;
                    Input::Secure(secure)
                }
                16 => {
                    Input::Refer { leg, request: id, allowed: rng.random_bool(0.8).then_some(Wish::Optional) }
                }
                14 => Input::Replace { leg, sdp, timer: None, srtp: Wish::Optional },
                17 => Input::TransferAnswered { sdp, timer },
                18 if rng.random_bool(0.5) => Input::TransferRefused { code: 486 },
                13 => Input::Info { leg, request: id, content_type: "application/dtmf", body: b"5" },
                _ => {
                    script.now_ms += rng.random_range(0..40_000);
                    Input::Time
                }
            };
            let was_over = script.call.is_ended();
            let was_secure = secure && !matches!(input, Input::Secure(_));
            let out = script.takes(input);
            let moved = |line: &String| line.starts_with("adopt") || line.starts_with("invite next");
            assert!(!was_secure || !out.iter().any(moved), "seed {seed}: {out:?}");
            ends += out.iter().filter(|line| line.starts_with("Ended")).count();
            assert!(!secure || !out.iter().any(|line| line.starts_with("info")), "seed {seed}: {out:?}");
            let spoke = out.iter().any(|line| !line.starts_with("respond") && line != "bye callee");
            assert!(!(was_over && spoke), "seed {seed}: {out:?}");
        }
        assert!(ends <= 1, "seed {seed}");
    }
}

//! What a recorder is told of a call (SIPREC: RFC 7866 and the metadata of RFC 7865).
//!
//! A message to a recorder holds two parts: the description of two streams ([`crate::sdp::recording`]) and
//! [`Metadata`], which says who speaks on which of them. Each message says everything anew
//! (`<datamode>complete</datamode>`), so that none depends on one before.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::sdp::recording::LABELS;

/// Between the parts. Neither part has a line that begins so.
const BOUNDARY: &str = "hushpad-recording";
/// The Content-Type of [`body`].
pub const CONTENT_TYPE: &str = "multipart/mixed;boundary=hushpad-recording";
/// Who is not known, or is not to be named (RFC 3323 section 4.1.1.3).
const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";

/// An id of 16 random bytes (RFC 7865 section 8.1).
pub type Id = [u8; 16];

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Names the participant; another person has another one.
    pub id: Id,
    /// Names what the participant says.
    pub stream: Id,
    /// The user part of the participant's address, where it may be told.
    pub user: Option<String>,
    /// Since when the participant is in the call, as RFC 3339 writes it.
    pub since: String,
}

/// A call, as a recorder knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The call's own id.
    pub call: Id,
    /// Behind which host users are named.
    pub host: String,
    /// Since when it is recorded, the time after the last pause.
    pub since: String,
    /// Since when it is not, while it pauses.
    pub paused: Option<String>,
    /// The customer and the agent.
    pub participants: [Participant; 2],
}

impl Metadata {
    /// The document, `application/rs-metadata+xml`.
    #[must_use]
    pub fn xml(&self) -> String {
        // Writing to a `String` cannot fail, so the results are dropped.
        let call = id(&self.call);
        let mut text = String::with_capacity(2048);
        text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n");
        text.push_str("<recording xmlns=\"urn:ietf:params:xml:ns:recording:1\">\r\n");
        text.push_str("<datamode>complete</datamode>\r\n");
        let _ = write!(text, "<session session_id=\"{call}\"></session>\r\n");
        for one in &self.participants {
            let (who, aor) = (id(&one.id), aor(one.user.as_deref(), &self.host));
            let _ = write!(
                text,
                "<participant participant_id=\"{who}\"><nameID aor=\"{aor}\"></nameID></participant>\r\n"
            );
        }
        for (one, label) in self.participants.iter().zip(LABELS) {
            let stream = id(&one.stream);
            let _ = write!(
                text,
                "<stream stream_id=\"{stream}\" session_id=\"{call}\"><label>{label}</label></stream>\r\n"
            );
        }
        let since = &self.since;
        let _ = write!(
            text,
            "<sessionrecordingassoc session_id=\"{call}\"><associate-time>{since}</associate-time>"
        );
        if let Some(paused) = &self.paused {
            let _ = write!(text, "<disassociate-time>{paused}</disassociate-time>");
        }
        text.push_str("</sessionrecordingassoc>\r\n");
        for one in &self.participants {
            let (who, since) = (id(&one.id), &one.since);
            let _ = write!(
                text,
                "<participantsessionassoc participant_id=\"{who}\" session_id=\"{call}\">\
                 <associate-time>{since}</associate-time></participantsessionassoc>\r\n"
            );
        }
        let [customer, agent] = &self.participants;
        for (one, other) in [(customer, agent), (agent, customer)] {
            let (who, send, recv) = (id(&one.id), id(&one.stream), id(&other.stream));
            let _ = write!(
                text,
                "<participantstreamassoc participant_id=\"{who}\">\
                 <send>{send}</send><recv>{recv}</recv></participantstreamassoc>\r\n"
            );
        }
        text.push_str("</recording>\r\n");
        text
    }
}

/// Both parts in one body, of the type [`CONTENT_TYPE`].
#[must_use]
pub fn body(sdp: &[u8], metadata: &Metadata) -> Vec<u8> {
    let mut bytes = format!("--{BOUNDARY}\r\nContent-Type: application/sdp\r\n\r\n").into_bytes();
    bytes.extend_from_slice(sdp);
    let between = format!(
        "\r\n--{BOUNDARY}\r\nContent-Type: application/rs-metadata+xml\r\n\
         Content-Disposition: recording-session\r\n\r\n"
    );
    bytes.extend_from_slice(between.as_bytes());
    bytes.extend_from_slice(metadata.xml().as_bytes());
    bytes.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    bytes
}

fn id(id: &Id) -> String {
    BASE64_STANDARD.encode(id)
}

/// An address in a form that needs no escapes in XML: what is not plain in a user part is escaped as in a URI.
fn aor(user: Option<&str>, host: &str) -> String {
    let Some(user) = user.filter(|user| !user.is_empty()) else { return ANONYMOUS.to_owned() };
    let mut text = "sip:".to_owned();
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text.push('@');
    text.push_str(host);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let participant = |n: u8, user: Option<&str>| Participant {
            id: [n; 16],
            stream: [n + 1; 16],
            user: user.map(str::to_owned),
            since: "2026-01-01T12:00:00Z".to_owned(),
        };
        Metadata {
            call: [9; 16],
            host: "192.0.2.10".to_owned(),
            since: "2026-01-01T12:00:01Z".to_owned(),
            paused: None,
            participants: [participant(1, None), participant(3, Some("anna"))],
        }
    }

    #[test]
    fn a_recorder_reads_who_speaks_on_which_stream() {
        insta::assert_snapshot!(metadata().xml(), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <recording xmlns="urn:ietf:params:xml:ns:recording:1">
        <datamode>complete</datamode>
        <session session_id="CQkJCQkJCQkJCQkJCQkJCQ=="></session>
        <participant participant_id="AQEBAQEBAQEBAQEBAQEBAQ=="><nameID aor="sip:anonymous@anonymous.invalid"></nameID></participant>
        <participant participant_id="AwMDAwMDAwMDAwMDAwMDAw=="><nameID aor="sip:anna@192.0.2.10"></nameID></participant>
        <stream stream_id="AgICAgICAgICAgICAgICAg==" session_id="CQkJCQkJCQkJCQkJCQkJCQ=="><label>1</label></stream>
        <stream stream_id="BAQEBAQEBAQEBAQEBAQEBA==" session_id="CQkJCQkJCQkJCQkJCQkJCQ=="><label>2</label></stream>
        <sessionrecordingassoc session_id="CQkJCQkJCQkJCQkJCQkJCQ=="><associate-time>2026-01-01T12:00:01Z</associate-time></sessionrecordingassoc>
        <participantsessionassoc participant_id="AQEBAQEBAQEBAQEBAQEBAQ==" session_id="CQkJCQkJCQkJCQkJCQkJCQ=="><associate-time>2026-01-01T12:00:00Z</associate-time></participantsessionassoc>
        <participantsessionassoc participant_id="AwMDAwMDAwMDAwMDAwMDAw==" session_id="CQkJCQkJCQkJCQkJCQkJCQ=="><associate-time>2026-01-01T12:00:00Z</associate-time></participantsessionassoc>
        <participantstreamassoc participant_id="AQEBAQEBAQEBAQEBAQEBAQ=="><send>AgICAgICAgICAgICAgICAg==</send><recv>BAQEBAQEBAQEBAQEBAQEBA==</recv></participantstreamassoc>
        <participantstreamassoc participant_id="AwMDAwMDAwMDAwMDAwMDAw=="><send>BAQEBAQEBAQEBAQEBAQEBA==</send><recv>AgICAgICAgICAgICAgICAg==</recv></participantstreamassoc>
        </recording>
        "#);
    }

    #[test]
    fn a_pause_is_in_the_metadata() {
        let paused = Metadata { paused: Some("2026-01-01T12:00:05Z".to_owned()), ..metadata() }.xml();
        assert!(paused.contains("<disassociate-time>2026-01-01T12:00:05Z</disassociate-time>"), "{paused}");
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        let evil = "a\"/></participant>&\r\n--hushpad-recording\u{e9}";
        let [customer, agent] = metadata().participants;
        let agent = Participant { user: Some(evil.to_owned()), ..agent };
        let xml = Metadata { participants: [customer, agent], ..metadata() }.xml();
        assert!(xml.contains(
            "aor=\"sip:a%22%2F%3E%3C%2Fparticipant%3E%26%0D%0A--hushpad-recording%C3%A9@192.0.2.10\""
        ));
        assert_eq!((xml.matches("</participant>").count(), xml.is_ascii()), (2, true));
    }

    #[test]
    fn the_body_has_both_parts() {
        let text = String::from_utf8(body(b"v=0\r\n", &metadata())).unwrap();
        let parts: Vec<_> = text.split("--hushpad-recording").collect();
        let [before, sdp, xml, after] = parts.as_slice() else { panic!("{text}") };
        assert_eq!((*before, *after), ("", "--\r\n"));
        assert_eq!(*sdp, "\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n");
        assert!(
            xml.contains(
                "application/rs-metadata+xml\r\nContent-Disposition: recording-session\r\n\r\n<?xml"
            )
        );
        assert!(CONTENT_TYPE.ends_with(BOUNDARY));
    }
}

use super::*;

const END: &str = "\r\n\r\n";

/// Whether all of it is handed on, whatever pieces it comes in, and whether a next request could begin after it.
fn read(text: &str) -> (bool, bool) {
    let mut outcomes = Vec::new();
    for piece in [1, 2, 3, 7, text.len()] {
        let mut framing = Framing::default();
        let mut good = 0;
        for piece in text.as_bytes().chunks(piece.max(1)) {
            good += framing.read(&mut piece.to_vec());
        }
        let broken = matches!(framing.0, Place::Broken);
        let at_a_head = matches!(&framing.0, Place::Head(head) if head.bytes == 0);
        assert!(broken || good == text.len());
        outcomes.push((!broken, at_a_head));
    }
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "{text:?} is read in two ways");
    outcomes[0]
}

#[test]
fn requests_end_where_they_say() {
    for text in [
        format!("GET / HTTP/1.1\r\nhost: x{END}"),
        format!("\r\nGET / HTTP/1.1\r\nhost: x{END}"),
        format!("POST / HTTP/1.1\r\nContent-Length: 5{END}abcde"),
        format!("POST / HTTP/1.1\r\nContent-Length:   0  {END}"),
        format!("POST / HTTP/1.1\r\ntransfer-encoding: Chunked{END}5\r\nab\r\nc\r\n0{END}"),
        format!(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked{END}A;x=\"y\"\r\n0123456789\r\n00\r\nt: 1{END}"
        ),
        format!("GET / HTTP/1.1\r\nhost: x{END}POST / HTTP/1.1\r\ncontent-length: 1{END}x"),
    ] {
        assert_eq!(read(&text), (true, true), "{text:?}");
    }
    assert_eq!(read(&format!("POST / HTTP/1.1\r\ncontent-length: 5{END}abcd")), (true, false));
}

#[test]
fn what_could_be_read_in_two_ways_is_no_request() {
    for head in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 5",
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 5",
        "content-length: +5",
        "content-length: 0x5",
        "content-length: ",
        "content-length: 99999999999999999999",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: identity",
        "transfer-encoding : chunked",
        "x: 1\r\n transfer-encoding: chunked",
        "x: 1\r\n\tfolded",
        "x: 1\ntransfer-encoding: chunked",
        "x: 1\rtransfer-encoding: chunked",
        "no colon",
        ": no name",
        "x: \0",
    ] {
        let text = format!("POST / HTTP/1.1\r\nhost: x\r\n{head}{END}");
        assert!(!read(&text).0, "{text:?}");
    }
    assert!(!read("GET / HTTP/1.1\nhost: x\n\n").0);
    assert!(!read("GET / HTTP/1.1\r\n host: x\r\n\r\n").0);
    for body in [
        "5\nabcde\r\n0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "5\r\nabcdeX\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        "-1\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "100000000\r\n",
        "\r\nabcde",
        "5;x\ny\r\nabcde\r\n0\r\n\r\n",
        "0\r\nt: 1\n\r\n",
    ] {
        let text = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked{END}{body}");
        assert!(!read(&text).0, "{text:?}");
    }
}

#[test]
fn heads_and_chunk_lines_have_an_end() {
    let long = "x".repeat(HEAD_BYTES_MAX);
    assert!(!read(&format!("GET / HTTP/1.1\r\nx: {long}{END}")).0);
    let many = "x: 1\r\n".repeat(HEAD_BYTES_MAX / 6 + 1);
    assert!(!read(&format!("GET / HTTP/1.1\r\n{many}\r\n")).0);
    let extended = format!("POST / HTTP/1.1\r\ntransfer-encoding: chunked{END}5;{long}");
    assert!(!read(&extended).0);
}

/// What is handed on of these bytes, by `read`, in pieces of at most `piece` bytes each.
fn handed_on(text: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<u8>, String) {
    let (mut framing, mut good, mut rest) = (Framing::default(), Vec::new(), text);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
        let mut bytes = now.to_vec();
        let taken = framing.read(&mut bytes);
        good.extend_from_slice(&bytes[..taken]);
        rest = later;
    }
    (good, format!("{:?}", framing.0))
}

/// The same with no byte taken but by `step`.
fn stepped(text: &[u8]) -> (Vec<u8>, String) {
    let (mut framing, mut good) = (Framing::default(), Vec::new());
    for byte in text {
        if matches!(framing.0, Place::Broken) {
            break;
        }
        if matches!(framing.0, Place::Body { .. } | Place::Chunk { .. }) {
            framing.read(&mut [*byte]);
            good.push(*byte);
        } else if framing.step(*byte).is_ok() {
            good.push(*byte);
        } else {
            framing.0 = Place::Broken;
            good.push(0);
        }
    }
    (good, format!("{:?}", framing.0))
}

/// Numbers below `end`, the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % end
    }
}

#[test]
fn text_taken_in_one_go_is_read_as_it_is_byte_by_byte() {
    const WORDS: [&str; 16] = [
        "GET / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\n",
        "host: x\r\n",
        "content-length: 3\r\n",
        "transfer-encoding: chunked\r\n",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        " ",
        ":",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "xyz",
        "\t;",
    ];
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut whole, mut broken) = (0, 0);
    for _ in 0..20_000 {
        let mut text = Vec::new();
        if numbers.below(2) == 0 {
            text.extend_from_slice(b"POST / HTTP/1.1\r\nhost: x\r\n");
        }
        for _ in 0..numbers.below(12) {
            match numbers.below(8) {
                0 => text.push(u8::try_from(numbers.below(256)).unwrap()),
                _ => text.extend_from_slice(WORDS[numbers.below(WORDS.len())].as_bytes()),
            }
        }
        let expected = stepped(&text);
        let largest = 1 + numbers.below(20);
        let found = handed_on(&text, || 1 + numbers.below(largest));
        assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&text));
        if expected.1 == "Broken" { broken += 1 } else { whole += 1 }
    }
    assert!(whole > 1_000 && broken > 1_000, "{whole} {broken}");
}

#[test]
fn a_head_near_its_largest_size_is_read_as_it_is_byte_by_byte() {
    let mut numbers = Numbers(0xD1B5_4A32_D192_ED03);
    let (mut whole, mut broken) = (0, 0);
    // A line counts twice, by itself and as a part of its head: one long line ends at half of the size.
    for before in [0, 1, 100, HEAD_BYTES_MAX / 2, HEAD_BYTES_MAX - 200] {
        let limit = (HEAD_BYTES_MAX - before) / 2;
        for length in limit.saturating_sub(16)..limit + 8 {
            let start = "GET / HTTP/1.1\r\n";
            let lines = format!("x: {}\r\n", "y".repeat(98)).repeat(before / 103);
            let text = format!("{start}{lines}z: {}{END}", "z".repeat(length));
            let expected = stepped(text.as_bytes());
            if expected.1 == "Broken" {
                broken += 1;
            } else {
                whole += 1;
            }
            assert_eq!(handed_on(text.as_bytes(), || usize::MAX), expected, "{before} {length}");
            let largest = 1 + numbers.below(3_000);
            let found = handed_on(text.as_bytes(), || 1 + numbers.below(largest));
            assert_eq!(found, expected, "{before} {length} in pieces of up to {largest}");
        }
    }
    assert!(whole > 20 && broken > 20, "{whole} {broken}");
}

#[test]
fn nothing_is_handed_on_after_the_first_bad_byte() {
    let mut bytes = b"GET / HTTP/1.1\r\nx: 1\nGET /second HTTP/1.1\r\n\r\n".to_vec();
    let mut framing = Framing::default();
    let good = framing.read(&mut bytes);
    assert_eq!(&bytes[..good], b"GET / HTTP/1.1\r\nx: 1\0");
    assert_eq!(framing.read(&mut b"GET / HTTP/1.1\r\n\r\n".to_vec()), 0);
}

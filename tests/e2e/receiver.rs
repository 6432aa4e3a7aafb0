//! A back end that results are pushed to. It keeps what came, byte for byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The secret that it shares with the product.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What it does with a webhook.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Takes,
    /// Takes it and says nothing: nobody but itself knows that it has it.
    SaysNothing,
}

/// The back end's end.
#[derive(Clone)]
pub(crate) struct Receiver {
    manner: Arc<Mutex<Manner>>,
    came: Arc<Mutex<Vec<Came>>>,
}

/// One webhook.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        values.next().unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl Receiver {
    pub(crate) fn open(at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).unwrap();
        let receiver = Self { manner: Arc::new(Mutex::new(Manner::Takes)), came: Arc::default() };
        let own = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        receiver
    }

    pub(crate) fn now(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// What came of this session.
    pub(crate) fn came(&self, session: &str) -> Vec<Came> {
        let all = self.came.lock().unwrap();
        all.iter().filter(|came| came.json()["sessionGuid"] == session).cloned().collect()
    }

    /// The bodies that came with this in them, in order.
    pub(crate) fn bodies_with(&self, text: &str) -> Vec<String> {
        let all = self.came.lock().unwrap();
        all.iter().filter(|came| came.body.contains(text)).map(|came| came.body.clone()).collect()
    }

    /// All bytes, to be searched.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let all = self.came.lock().unwrap();
        all.iter().flat_map(|came| [came.head.as_bytes(), came.body.as_bytes()].concat()).collect()
    }

    /// Request after request, until the connection ends.
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if !matches!(reader.read_line(&mut head), Ok(n) if n > 0) {
                    return;
                }
            }
            let mut came = Came { head, body: String::new() };
            let length: usize = came.header("content-length").parse().unwrap();
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            came.body = String::from_utf8(body).unwrap();
            self.came.lock().unwrap().push(came);
            if *self.manner.lock().unwrap() == Manner::SaysNothing {
                // Until the other end goes.
                let _ = reader.read(&mut [0]);
                return;
            }
            if reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

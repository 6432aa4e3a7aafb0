//! A worker: one thread that moves the packets of its calls.

use super::call::{BUFFER_BYTES, Call, PORTS, Port, Token};
use super::clock::now_us;
use super::net::{Epoll, Wake};
use hushpad_telephony::relay::{BridgeStats, LegParams, SecureMode, Side};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// The token of the wake-up file; calls have theirs from zero.
const WAKE: u64 = u64::MAX;

/// What a call task wants of a worker.
pub(super) enum Command {
    Open(usize, Box<Call>),
    SetLeg(usize, Side, LegParams),
    Secure(usize, Box<SecureMode>, oneshot::Sender<Leftover>),
    Release(usize, oneshot::Sender<Leftover>),
    Stats(usize, oneshot::Sender<BridgeStats>),
    Close(usize),
    Stop,
}

/// What remains of secure mode, for the call task to free.
pub(super) type Leftover = Option<Box<SecureMode>>;

pub(super) struct Worker {
    epoll: Epoll,
    wake: Arc<Wake>,
    buffer: Box<[u8; BUFFER_BYTES]>,
    commands: Receiver<Command>,
    /// By the number of the call; the number comes from its ports, so that no two have the same.
    calls: Vec<Option<Box<Call>>>,
    /// Calls that may have something to send when no packet comes.
    timed: Vec<usize>,
}

enum Next {
    GoOn,
    Stop,
}

impl Worker {
    pub(super) fn new(commands: Receiver<Command>, wake: Arc<Wake>, max_calls: usize) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(wake.as_ref(), WAKE)?;
        let calls = std::iter::repeat_with(|| None).take(max_calls).collect();
        let timed = Vec::with_capacity(max_calls);
        Ok(Self { epoll, wake, buffer: Box::new([0; BUFFER_BYTES]), commands, calls, timed })
    }

    /// Works until told to stop, or until nobody can tell it anything any more.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            let timeout_ms = self.timeout_ms();
            let mut woken = false;
            let tokens = self.epoll.wait(timeout_ms)?;
            let now_us = now_us();
            for token in tokens {
                if token == WAKE {
                    woken = true;
                } else if let Some((call, port)) = find(&mut self.calls, token) {
                    call.receive(port, now_us, &mut self.buffer);
                }
            }
            self.deadlines(now_us);
            if woken {
                self.wake.clear();
                if let Next::Stop = self.obey(now_us) {
                    return Ok(());
                }
            }
        }
    }

    fn timeout_ms(&self) -> Option<u16> {
        let calls = self.timed.iter().filter_map(|call| self.calls.get(*call)?.as_ref());
        let deadline_us = calls.filter_map(|call| call.next_deadline_us()).min()?;
        let left_ms = deadline_us.saturating_sub(now_us()).div_ceil(1000);
        Some(u16::try_from(left_ms).unwrap_or(u16::MAX))
    }

    fn deadlines(&mut self, now_us: u64) {
        for number in &self.timed {
            if let Some(Some(call)) = self.calls.get_mut(*number) {
                call.deadline(now_us);
            }
        }
    }

    fn obey(&mut self, now_us: u64) -> Next {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop => return Next::Stop,
                Command::Open(number, call) => self.open(number, call),
                Command::Close(number) => {
                    self.timed.retain(|timed| *timed != number);
                    drop(self.calls.get_mut(number).and_then(Option::take));
                }
                Command::SetLeg(number, side, params) => {
                    self.with(number, |call| call.set_leg(side, params));
                }
                Command::Secure(number, secure, done) => {
                    self.time(number);
                    answer(done, self.with(number, |call| call.secure(secure)));
                }
                Command::Release(number, done) => {
                    self.timed.retain(|timed| *timed != number);
                    answer(done, self.with(number, |call| call.release(now_us)));
                }
                Command::Stats(number, done) => {
                    answer(done, self.with(number, |call| Some(call.stats())));
                }
            }
        }
        Next::GoOn
    }

    fn open(&mut self, number: usize, call: Box<Call>) {
        let Some(place) = self.calls.get_mut(number) else { return };
        for port in PORTS {
            // Without memory for it in the kernel this port is deaf; the counters tell.
            let _refused = self.epoll.add(call.socket(port), Token::new(number, port).0);
        }
        *place = Some(call);
    }

    fn with<T>(&mut self, number: usize, action: impl FnOnce(&mut Call) -> Option<T>) -> Option<T> {
        action(self.calls.get_mut(number)?.as_mut()?)
    }

    fn time(&mut self, number: usize) {
        if !self.timed.contains(&number) {
            self.timed.push(number);
        }
    }
}

fn find(calls: &mut [Option<Box<Call>>], token: u64) -> Option<(&mut Call, Port)> {
    let (number, port) = Token(token).parts()?;
    Some((calls.get_mut(number)?.as_mut()?, port))
}

/// Answers a call task. Without an answer it learns that the media is gone; one that has gone away itself
/// needs none.
fn answer<T>(done: oneshot::Sender<T>, result: Option<T>) {
    if let Some(result) = result {
        let _gone = done.send(result);
    }
}

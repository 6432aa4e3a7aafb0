//! A worker: one thread that moves the packets of its calls.

use super::call::{BUFFER_BYTES, Call, PORTS, Port, Token};
use super::clock;
use super::net::{Epoll, Ticker, Wake};
use hushpad_telephony::relay::{BridgeStats, Fork, ForkFlow, KeyListener, LegParams, SecureMode, Side};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// The token of the wake-up file; calls have theirs from zero.
const WAKE: u64 = u64::MAX;
/// The token of the ticker.
const TICK: u64 = u64::MAX - 1;

/// How often calls in secure mode are asked for what the clock makes due. Packets that go on by the clock
/// are late already, and looking at every call on every packet costs more than they are worth.
const TICK_US: u64 = 5_000;

/// How often calls are asked for reports: finer than their spread, and rarely enough to walk over all calls.
const REPORT_TICK_US: u64 = 500_000;

/// What a call task wants of a worker.
pub(super) enum Command {
    Open(usize, Box<Call>),
    SetLeg(usize, Side, LegParams),
    Listen(usize, Option<Box<KeyListener>>, oneshot::Sender<Option<Box<KeyListener>>>),
    Fork(usize, Box<Fork>),
    Flow(usize, Box<ForkFlow>),
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
    ticker: Ticker,
    buffer: Box<[u8; BUFFER_BYTES]>,
    commands: Receiver<Command>,
    /// By the number of the call; the number comes from its ports, so that no two have the same.
    calls: Vec<Option<Box<Call>>>,
    /// Calls that may have something to send when no packet comes, and when. Beside each other, so that a look at
    /// all of them does not fetch the memory of every call.
    timed: Vec<Timed>,
    next_tick_us: u64,
    /// Calls there are.
    live: usize,
    next_report_us: u64,
}

/// A call that the clock may have to move.
struct Timed {
    number: usize,
    due_us: u64,
}

enum Next {
    GoOn,
    Stop,
}

impl Worker {
    pub(super) fn new(commands: Receiver<Command>, wake: Arc<Wake>, max_calls: usize) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(wake.as_ref(), WAKE)?;
        let ticker = Ticker::new()?;
        epoll.add(&ticker, TICK)?;
        let calls = std::iter::repeat_with(|| None).take(max_calls).collect();
        let timed = Vec::with_capacity(max_calls);
        let buffer = Box::new([0; BUFFER_BYTES]);
        Ok(Self {
            epoll,
            wake,
            ticker,
            buffer,
            commands,
            calls,
            timed,
            next_tick_us: 0,
            live: 0,
            next_report_us: 0,
        })
    }

    /// Works until told to stop, or until nobody can tell it anything any more.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            self.ticker.every(self.period_us())?;
            self.epoll.wait()?;
            let now_us = clock::now_us();
            // First what was commanded, so that it holds for every packet sent after the command.
            if self.epoll.tokens().any(|token| token == WAKE) {
                self.wake.clear();
                if let Next::Stop = self.obey(now_us) {
                    return Ok(());
                }
            }
            for token in self.epoll.tokens() {
                if token == TICK {
                    self.ticker.clear();
                } else if let Some((call, port)) = find(&mut self.calls, token) {
                    call.receive(port, now_us, &mut self.buffer);
                }
            }
            self.deadlines(now_us);
            self.reports(now_us);
        }
    }

    /// How often the clock must wake us when no packet does.
    fn period_us(&self) -> u64 {
        match (self.timed.is_empty(), self.live) {
            (false, _) => TICK_US,
            (true, 1..) => REPORT_TICK_US,
            (true, 0) => 0,
        }
    }

    fn deadlines(&mut self, now_us: u64) {
        if self.timed.is_empty() || now_us < self.next_tick_us {
            return;
        }
        self.next_tick_us = now_us + TICK_US;
        let calls = &mut self.calls;
        self.timed.retain_mut(|timed| {
            if now_us < timed.due_us {
                return true;
            }
            let Some(Some(call)) = calls.get_mut(timed.number) else { return false };
            call.deadline(now_us);
            // A packet that comes meanwhile only puts it off.
            timed.due_us = call.next_deadline_us().unwrap_or(now_us + TICK_US);
            call.is_secured()
        });
    }

    fn reports(&mut self, now_us: u64) {
        if self.live == 0 || now_us < self.next_report_us {
            return;
        }
        self.next_report_us = now_us + REPORT_TICK_US;
        let unix_us = clock::unix_us();
        self.calls.iter_mut().flatten().for_each(|call| call.report(now_us, unix_us));
    }

    fn obey(&mut self, now_us: u64) -> Next {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Stop => return Next::Stop,
                Command::Open(number, call) => self.open(number, call),
                Command::Close(number) => {
                    self.timed.retain(|timed| timed.number != number);
                    if let Some(mut call) = self.calls.get_mut(number).and_then(Option::take) {
                        call.goodbye(now_us, clock::unix_us());
                        self.live -= 1;
                    }
                }
                Command::SetLeg(number, side, params) => {
                    self.with(number, |call| call.set_leg(side, params));
                }
                Command::Listen(number, listener, done) => {
                    answer(done, self.with(number, |call| Some(call.listen(listener))));
                }
                Command::Fork(number, fork) => {
                    self.with(number, |call| call.fork(fork));
                }
                Command::Flow(number, to) => {
                    self.with(number, |call| call.flow(*to));
                }
                Command::Secure(number, secure, done) => {
                    self.time(number);
                    answer(done, self.with(number, |call| call.secure(secure)));
                }
                Command::Release(number, done) => {
                    self.time(number);
                    // Answers when the key that is down now is up.
                    if let Some(Some(call)) = self.calls.get_mut(number) {
                        call.release(now_us, done);
                    }
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
        self.live += usize::from(place.replace(call).is_none());
    }

    fn with<T>(&mut self, number: usize, action: impl FnOnce(&mut Call) -> Option<T>) -> Option<T> {
        action(self.calls.get_mut(number)?.as_mut()?)
    }

    /// The call is to be looked at with the next tick.
    fn time(&mut self, number: usize) {
        match self.timed.iter_mut().find(|timed| timed.number == number) {
            Some(timed) => timed.due_us = 0,
            None => self.timed.push(Timed { number, due_us: 0 }),
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

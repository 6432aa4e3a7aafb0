//! A load generator that costs little: it shares the machine with what it measures.
//!
//! It has a thread and a runtime of its own. A request is bytes made beforehand, sent again and again over
//! connections that stay open; of a reply only its status and its length are read.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Durations;
use crate::world::RealWorld;

/// Every reply of ours that is measured fits: a status is below 2 KiB.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// How hard to push.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Each connection sends as soon as it has its answer.
    Flat,
    /// So many requests a second in all, at fixed moments, whatever the answers do. A late answer makes the ones
    /// behind it late too, and that is counted: the time runs from the moment a request was due.
    PerSecond(f64),
}

/// What a load gave.
pub(super) struct Load {
    /// Answers a second.
    pub(super) rate: f64,
    /// From a request's first byte, or its due moment, to its answer's last.
    pub(super) durations: Durations,
}

/// Sends `requests[n % len]` over connection `n` of `connections` for as long as `length`.
///
/// # Errors
/// A connection that failed, or an answer that is not 200.
pub(super) async fn drive(
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    connections: usize,
    pace: Pace,
    length: Duration,
) -> anyhow::Result<Load> {
    let thread = std::thread::Builder::new().name("load".to_owned());
    let (done, outcome) = tokio::sync::oneshot::channel();
    let thread = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let load = match runtime {
            Ok(runtime) => runtime.block_on(run(address, requests, connections, pace, length)),
            Err(error) => Err(error.into()),
        };
        // The caller waits for it, or has been ended.
        let _ = done.send(load);
    })?;
    let load = outcome.await.context("the load generator")?;
    ensure!(thread.join().is_ok(), "the load generator panicked");
    load
}

/// Sends one request and gives the body of its answer.
///
/// # Errors
/// As [`drive`].
pub(super) async fn once(address: SocketAddr, request: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    Line::open(address, request).await?.exchange().await
}

async fn run(
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    connections: usize,
    pace: Pace,
    length: Duration,
) -> anyhow::Result<Load> {
    let mut lines = Vec::with_capacity(connections);
    for number in 0..connections {
        let request = requests[number % requests.len()].clone();
        lines.push(Line::open(address, request).await?);
    }
    let world = RealWorld::new();
    let mut tasks = JoinSet::new();
    for (number, line) in lines.into_iter().enumerate() {
        tasks.spawn(line.send_for(world.clone(), schedule(pace, number, connections), length));
    }
    let mut taken_us = Vec::new();
    while let Some(one) = tasks.join_next().await {
        taken_us.extend(one??);
    }
    let rate = super::per_second(taken_us.len(), world.elapsed_us());
    Ok(Load { rate, durations: Durations::new(taken_us) })
}

/// When a connection's requests are due: the first, and the time between two. `None`: at once.
fn schedule(pace: Pace, number: usize, connections: usize) -> Option<(u64, u64)> {
    let Pace::PerSecond(rate) = pace else { return None };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "microseconds between two requests of one connection"
    )]
    let period_us = (connections as f64 * 1e6 / rate.max(1.0)) as u64;
    Some((period_us * number as u64 / connections as u64, period_us))
}

/// One connection with its request.
struct Line {
    stream: TcpStream,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Line {
    async fn open(address: SocketAddr, request: Vec<u8>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, request, reply: vec![0; REPLY_BYTES_MAX] })
    }

    async fn send_for(
        mut self,
        world: RealWorld,
        schedule: Option<(u64, u64)>,
        length: Duration,
    ) -> anyhow::Result<Vec<u64>> {
        let length_us = super::micros(length);
        let mut taken_us = Vec::new();
        let mut due_us = schedule.map(|(first_us, _)| first_us);
        loop {
            let begun_us = match due_us {
                Some(due_us) => {
                    wait_until(&world, due_us).await;
                    due_us
                }
                None => world.elapsed_us(),
            };
            if begun_us >= length_us {
                return Ok(taken_us);
            }
            self.exchange().await?;
            taken_us.push(world.elapsed_us().saturating_sub(begun_us));
            due_us = schedule.map(|(_, period_us)| begun_us + period_us);
        }
    }

    async fn exchange(&mut self) -> anyhow::Result<Vec<u8>> {
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.reply[filled..]).await?;
            ensure!(read > 0, "the connection was closed within a reply");
            filled += read;
            if let Some((head, body)) = reply_length(&self.reply[..filled])? {
                ensure!(filled <= head + body, "more than one reply came");
                if filled == head + body {
                    break head;
                }
            }
        };
        if !self.reply.starts_with(b"HTTP/1.1 200 ") {
            bail!("{}", String::from_utf8_lossy(&self.reply[..filled]));
        }
        Ok(self.reply[head..filled].to_vec())
    }
}

/// The runtime's timer has whole milliseconds.
async fn wait_until(world: &RealWorld, due_us: u64) {
    let wait_us = due_us.saturating_sub(world.elapsed_us());
    if wait_us > 0 {
        tokio::time::sleep(Duration::from_micros(wait_us)).await;
    }
}

/// How long head and body are, once the head is there.
fn reply_length(bytes: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let headers = &bytes[..end];
    let at = headers.windows(NAME.len()).position(|part| part.eq_ignore_ascii_case(NAME));
    let digits = headers[at.context("a reply without a length")? + NAME.len()..].iter();
    let length = digits.take_while(|byte| byte.is_ascii_digit());
    let body = length.fold(0_usize, |sum, digit| sum.saturating_mul(10) + usize::from(digit - b'0'));
    Ok(Some((end + 4, body)))
}

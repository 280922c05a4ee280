//! A UDP flood: one sender and one receiver, as fast as both can.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::host::{Host, together};
use crate::traffic::{any, is_timeout, server};

/// The receiver's socket buffer; a flood should lose packets to the machine, not to this.
const BUFFER: usize = 64 << 20;

/// How many datagrams are sent between two looks at the clock and the stop flag.
const BATCH: u64 = 64;

/// What a flood consists of.
#[derive(Clone, Copy, Debug)]
pub struct Flood<'a> {
    /// The address and port of the receiver.
    pub at: SocketAddr,
    /// Payload bytes of each datagram.
    pub size: usize,
    /// When it ends by itself.
    pub limit: Limit,
    /// Ends it early when set.
    pub stop: &'a AtomicBool,
}

/// When a flood ends by itself.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// After this time.
    For(Duration),
    /// After this many datagrams.
    Packets(u64),
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct FloodResult {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams the receiver read.
    pub received: u64,
    /// From the first send to the last.
    pub seconds: f64,
}

impl FloodResult {
    /// Datagrams sent per second.
    pub fn rate(&self) -> f64 {
        // Exact up to 2^53 datagrams.
        self.sent as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Floods host `to` from host `from`; for loopback both are the same.
pub fn udp_flood(from: &Host, to: &Host, flood: &Flood) -> Result<FloodResult> {
    let at = flood.at;
    let receiver = server(to, at, UdpSocket::bind)?;
    set_socket_recv_buffer_size_force(&receiver, BUFFER)?;
    receiver.set_read_timeout(Some(Duration::from_millis(100)))?;
    let done = AtomicBool::new(false);
    let send = || {
        let sent = send(flood);
        done.store(true, Ordering::Release);
        sent
    };
    let (received, (sent, took)) = together((to, || receive(&receiver, flood.size, &done)), (from, send))?;
    Ok(FloodResult { sent, received, seconds: took.as_secs_f64() })
}

/// Sends until the limit or the stop flag; returns how many, and how long it took.
fn send(flood: &Flood) -> Result<(u64, Duration)> {
    let socket = UdpSocket::bind(any(flood.at))?;
    socket.connect(flood.at).with_context(|| format!("connect UDP to {}; is there a route?", flood.at))?;
    let data = vec![b'f'; flood.size];
    let begin = Instant::now();
    let mut sent = 0;
    while !flood.stop.load(Ordering::Relaxed) {
        let batch = match flood.limit {
            Limit::For(time) if begin.elapsed() >= time => 0,
            Limit::For(_) => BATCH,
            Limit::Packets(count) => BATCH.min(count - sent),
        };
        if batch == 0 {
            break;
        }
        for _ in 0..batch {
            socket.send(&data).with_context(|| format!("send to {} after {sent} datagrams", flood.at))?;
        }
        sent += batch;
    }
    Ok((sent, begin.elapsed()))
}

/// Reads until `done` is set and nothing comes any more; returns how many datagrams came.
fn receive(socket: &UdpSocket, size: usize, done: &AtomicBool) -> Result<u64> {
    let mut buffer = vec![0; size];
    let mut received = 0;
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) => received += 1,
            Err(error) if is_timeout(&error) && done.load(Ordering::Acquire) => {
                return Ok(received);
            }
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error).context("receive the flood"),
        }
    }
}

#[cfg(test)]
mod root {
    use super::*;
    use crate::Net;

    #[test]
    fn a_flood_of_a_fixed_count_arrives() {
        let host = Net::alone().unwrap();
        let stop = AtomicBool::new(false);
        let flood = Flood { at: host.at(7000), size: 100, limit: Limit::Packets(1000), stop: &stop };
        let result = udp_flood(&host, &host, &flood).unwrap();
        assert_eq!((result.sent, result.received), (1000, 1000));
        assert!(result.rate() > 0.0);
    }

    #[test]
    fn a_flood_stops_when_told() {
        let host = Net::alone().unwrap();
        let stop = AtomicBool::new(true);
        let limit = Limit::For(Duration::from_secs(600));
        let result =
            udp_flood(&host, &host, &Flood { at: host.at(7000), size: 100, limit, stop: &stop }).unwrap();
        assert_eq!((result.sent, result.received), (0, 0));
    }
}

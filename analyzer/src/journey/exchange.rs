//! Requests and their replies, both ways together: what no clock of two hosts is needed for.
//!
//! ICMP echo: a reply has the request's addresses, turned round, its identifier and its sequence number (RFC 792; RFC 4443,
//! 4.2), as the host that asks sees them, behind all address translation.

use std::collections::BTreeMap;

use ahash::AHashMap;

use super::verdict::{Judge, Verdict};
use crate::address::Addr;
use crate::latency::Distribution;

/// What became of a request, as everoute's path tracer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// The reply came back.
    Complete,
    /// A host dropped the request.
    InternalDropRequest,
    /// The network between two hosts lost the request.
    NetworkDropRequest,
    /// The request left the last recorded host, and no reply came into it: the network or the host behind lost either.
    ExternalDrop,
    /// The request came to its destination's host, which sent no reply.
    NoReply,
    /// A host dropped the reply.
    InternalDropReply,
    /// The network between two hosts lost the reply.
    NetworkDropReply,
    /// The capture ended before the reply could come.
    InFlight,
    /// Events were lost, or nothing was recorded where it would have been seen.
    Unknown,
    /// A reply of which no request was recorded.
    Partial,
}

impl Status {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "COMPLETE",
            Self::InternalDropRequest => "INTERNAL_DROP_REQ",
            Self::NetworkDropRequest => "NETWORK_DROP_REQ",
            Self::ExternalDrop => "EXTERNAL_DROP",
            Self::NoReply => "NO_REPLY",
            Self::InternalDropReply => "INTERNAL_DROP_REP",
            Self::NetworkDropReply => "NETWORK_DROP_REP",
            Self::InFlight => "IN_FLIGHT",
            Self::Unknown => "UNKNOWN",
            Self::Partial => "PARTIAL",
        }
    }
}

/// Requests from one host to another, and their replies.
#[derive(Clone, Debug, Default)]
pub struct Exchanges {
    /// What became of them.
    pub statuses: BTreeMap<Status, u64>,
    /// From the request's last sighting on the first recorded host to the reply's first there, ns.
    pub outside: Distribution,
    /// From the request's first sighting on the last recorded host to the reply's last there, ns; where that is another.
    pub turn: Distribution,
    /// The difference of both: all networks and hosts in between, both ways, ns.
    pub between: Distribution,
}

/// A request, by its addresses, identifier and sequence number.
type Asked = (Addr, Addr, u16, u16);

/// Replies of all journeys, the earliest first.
#[derive(Debug, Default)]
pub struct Replies {
    /// By what they answer: the legs with which they begin.
    roots: AHashMap<Asked, Vec<usize>>,
}

impl Replies {
    /// Those among all journeys.
    pub fn new(judge: &Judge<'_, '_>) -> Self {
        let mut replies = Self::default();
        for root in judge.roots() {
            let leg = &judge.legs[root];
            let Some(echo) = leg.echo.filter(|echo| echo.is_reply) else { continue };
            let way = judge.way(root);
            let flow = judge.legs[way[way.len() - 1]].last_flow();
            replies.roots.entry((flow.dst, flow.src, echo.id, echo.seq)).or_default().push(root);
        }
        replies
    }

    /// Takes the reply to a request that begins with a leg. With an identifier that is used again, the first that came
    /// behind the request.
    fn take(&mut self, judge: &Judge<'_, '_>, request: usize) -> Option<usize> {
        let leg = &judge.legs[request];
        let echo = leg.echo?;
        let replies = self.roots.get_mut(&(leg.flow.src, leg.flow.dst, echo.id, echo.seq))?;
        let asked = judge.hosts.moment(leg.host, leg.start);
        let answers = |reply: &usize| {
            let reply = &judge.legs[*reply];
            judge.hosts.moment(reply.host, reply.end).since(&asked).1 >= 0
        };
        let found = replies.iter().position(answers)?;
        Some(replies.remove(found))
    }

    /// Replies that nothing asked for, by the legs with which they begin.
    pub fn rest(&self) -> impl Iterator<Item = usize> {
        self.roots.values().flatten().copied()
    }
}

impl Exchanges {
    /// Adds a request that begins with a leg.
    pub fn add(&mut self, judge: &Judge<'_, '_>, replies: &mut Replies, request: usize) {
        let reply = replies.take(judge, request);
        *self.statuses.entry(status(judge, request, reply)).or_default() += 1;
        if let Some(reply) = reply {
            self.measure(judge, &judge.way(request), &judge.way(reply));
        }
    }

    /// Measures both ways on the first and on the last host of the request's way.
    fn measure(&mut self, judge: &Judge<'_, '_>, request: &[usize], reply: &[usize]) {
        let on =
            |way: &[usize], host: usize| way.iter().map(|leg| &judge.legs[*leg]).find(|leg| leg.host == host);
        let (first, last) = (&judge.legs[request[0]], &judge.legs[request[request.len() - 1]]);
        let Some(back) = on(reply, first.host) else { return };
        let (Some(left), Some(entered)) = (&first.left, &back.entered) else { return };
        let Some(outside) = entered.ts.checked_sub(left.ts) else { return };
        self.outside.add(outside);
        let Some(answer) = on(reply, last.host).filter(|_| last.host != first.host) else { return };
        let (Some(came), Some(went)) = (&last.entered, &answer.left) else { return };
        if let Some(turn) = went.ts.checked_sub(came.ts) {
            self.turn.add(turn);
            self.between.add(outside.saturating_sub(turn));
        }
    }
}

/// What became of a request; `reply` is the leg with which its reply begins.
fn status(judge: &Judge<'_, '_>, request: usize, reply: Option<usize>) -> Status {
    if let Some(reply) = reply {
        return match judge.verdict(reply) {
            Verdict::Internal { .. } => Status::InternalDropReply,
            Verdict::Network { .. } => Status::NetworkDropReply,
            Verdict::InFlight => Status::InFlight,
            Verdict::Unknown { .. } | Verdict::NotCovered { .. } => Status::Unknown,
            _ => Status::Complete,
        };
    }
    let way = judge.way(request);
    let last = way[way.len() - 1];
    match judge.verdict(request) {
        Verdict::Internal { .. } => Status::InternalDropRequest,
        Verdict::Network { .. } => Status::NetworkDropRequest,
        Verdict::InFlight => Status::InFlight,
        Verdict::Unknown { .. } | Verdict::NotCovered { .. } => Status::Unknown,
        _ if judge.ends_soon_behind(last) => Status::InFlight,
        _ if judge.loses_behind(last) => Status::Unknown,
        Verdict::Left => Status::ExternalDrop,
        _ => Status::NoReply,
    }
}

//! Observations gathered by root cause and victim.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::rc::Rc;

use ahash::{AHashMap, AHashSet};

use super::finding::{self, Device, Finding, Share};
use crate::address::{Addr, with_port};
use crate::event::{Effect, Flow, Place as At, Snapshot};
use crate::knowledge::{Key, Knowledge, Meaning, Severity, function_of};
use crate::names::{Name, Names};
use crate::numbers::{Count, grouped};
use crate::rule::Rule;

/// Different things that a group counts at most: flows, devices, places.
const MAX_COUNTED: usize = 4096;
/// Groups of all causes at most; what comes after them joins one group for its cause.
const MAX_GROUPS: usize = 8192;
/// Examples of a finding.
const MAX_EXAMPLES: usize = 3;
/// Flows and places that a finding names.
const MAX_NAMED: usize = 5;

/// A device in a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Where<'a> {
    /// Device.
    pub dev: Name<'a>,
    /// Namespace, inode; 0: unknown.
    pub netns: u32,
}

impl<'a> Where<'a> {
    /// The device of an event.
    pub fn of(at: At<'a>) -> Self {
        Self { dev: at.dev, netns: at.netns }
    }
}

/// A life to look at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Example<'a> {
    /// Address of its `sk_buff`.
    pub skb: u64,
    /// First event, ns of CLOCK_MONOTONIC.
    pub start: u64,
    /// Last event.
    pub end: u64,
    /// Its flow.
    pub flow: Flow<'a>,
}

/// What a group is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Victim<'a> {
    /// An address and port.
    Endpoint(Addr, Option<u16>),
    /// A device.
    Device(Where<'a>),
    /// Two ends.
    Flow(Flow<'a>),
    /// A reason and a function.
    Place(Name<'a>, Name<'a>),
    /// The whole host, or too many to tell apart.
    All,
}

/// One observation of trouble.
pub(super) struct Observation<'e, 'a> {
    /// What it means.
    pub meaning: Rc<Meaning>,
    /// What was seen: `kfree_skb NO_SOCKET`, `icmp_send 3/3`.
    pub evidence: Evidence<'a>,
    /// The flow towards the victim.
    pub flow: Flow<'a>,
    /// The same as its sender has it: addresses may have been translated since.
    pub origin: Flow<'a>,
    /// The event; of several the first.
    pub event: &'e Snapshot<'a>,
    /// How many events there were.
    pub count: u64,
    /// When the last of them came.
    pub last: u64,
    /// The packet's life.
    pub life: Option<Example<'a>>,
    /// Device, where the event has none.
    pub at: Where<'a>,
    /// The rule that dropped it.
    pub rule: Option<Rule<'a>>,
}

/// What was seen. Names are put together only when a finding is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Evidence<'a> {
    /// The probe.
    pub probe: Name<'a>,
    /// What it said.
    pub detail: Name<'a>,
}

/// Counts of things, of which there may be endlessly many.
#[derive(Clone, Debug)]
struct Counter<T> {
    /// Counts.
    counts: AHashMap<T, u64>,
    /// Whether there were more.
    more: bool,
}

impl<T> Default for Counter<T> {
    fn default() -> Self {
        Self { counts: AHashMap::default(), more: false }
    }
}

impl<T: Copy + Eq + Hash + Ord> Counter<T> {
    /// Counts one thing.
    fn add(&mut self, what: T, count: u64) {
        if self.counts.len() < MAX_COUNTED || self.counts.contains_key(&what) {
            *self.counts.entry(what).or_default() += count;
        } else {
            self.more = true;
        }
    }

    /// Adds all of another.
    fn add_all(&mut self, other: &Self) {
        other.counts.iter().for_each(|(what, count)| self.add(*what, *count));
        self.more |= other.more;
    }

    /// How many different things there are.
    fn count(&self) -> Count {
        Count::new(self.counts.len() as u64, self.more)
    }

    /// The most frequent, at most `most`.
    fn top(&self, most: usize) -> Vec<Share<T>> {
        let mut all: Vec<Share<T>> =
            self.counts.iter().map(|(what, count)| Share { what: *what, count: *count }).collect();
        all.sort_unstable_by(|a, b| b.count.cmp(&a.count).then(a.what.cmp(&b.what)));
        all.truncate(most);
        all
    }
}

/// Observations of one cause about one victim.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    /// What it means; of the worst observation.
    meaning: Rc<Meaning>,
    /// Packets dropped.
    drops: u64,
    /// First time.
    first: u64,
    /// Last time.
    last: u64,
    /// What was seen.
    evidence: BTreeMap<Evidence<'a>, u64>,
    /// Flows, by all that was seen.
    flows: Counter<Flow<'a>>,
    /// The same as their senders have them.
    origins: Counter<Flow<'a>>,
    /// Where these packets were sent to.
    destinations: Counter<(Addr, Option<u16>)>,
    /// Flows, by packets dropped.
    dropped_flows: Counter<Flow<'a>>,
    /// Devices.
    devices: Counter<Where<'a>>,
    /// Places in the kernel.
    locations: Counter<Name<'a>>,
    /// Reasons.
    reasons: Counter<Name<'a>>,
    /// Rules.
    rules: Counter<Rule<'a>>,
    /// Greatest fill of a receive buffer, and its size.
    receive_buffer: Option<(u32, u32)>,
    /// A stack.
    stack: Name<'a>,
    /// Lives to look at.
    examples: Vec<Example<'a>>,
}

impl<'a> Group<'a> {
    /// An empty group.
    fn new(meaning: Rc<Meaning>) -> Self {
        Self {
            meaning,
            drops: 0,
            first: u64::MAX,
            last: 0,
            evidence: BTreeMap::new(),
            flows: Counter::default(),
            origins: Counter::default(),
            destinations: Counter::default(),
            dropped_flows: Counter::default(),
            devices: Counter::default(),
            locations: Counter::default(),
            reasons: Counter::default(),
            rules: Counter::default(),
            receive_buffer: None,
            stack: Name::NONE,
            examples: Vec::new(),
        }
    }

    /// Adds an observation.
    fn add(&mut self, seen: &Observation<'_, 'a>) {
        let event = seen.event;
        let is_drop = matches!(event.effect, Effect::Drop | Effect::HardwareDrop);
        let dropped = if is_drop { seen.count } else { 0 };
        let first_drop = is_drop && self.drops == 0 && seen.meaning.severity == self.meaning.severity;
        if seen.meaning.severity > self.meaning.severity || first_drop {
            self.meaning = Rc::clone(&seen.meaning);
        }
        self.drops += dropped;
        self.first = self.first.min(event.ts);
        self.last = self.last.max(seen.last);
        *self.evidence.entry(seen.evidence).or_default() += seen.count;
        if !seen.flow.src.is_none() {
            self.flows.add(seen.flow, seen.count);
            self.origins.add(seen.origin, seen.count);
            self.dropped_flows.add(seen.flow, dropped);
        }
        if !seen.flow.dst.is_none() {
            self.destinations.add((seen.flow.dst, seen.flow.dport), seen.count);
        }
        if seen.at.dev.is_some() {
            self.devices.add(seen.at, seen.count);
        }
        if event.location.is_some() {
            self.locations.add(event.location, seen.count);
        }
        if event.reason.is_some() {
            self.reasons.add(event.reason, seen.count);
        }
        if let Some(rule) = seen.rule {
            self.rules.add(rule, seen.count);
        }
        // Every socket event has these figures; they matter where the buffer fills up.
        let fills = event.receive_buffer.filter(|(queued, size)| *size != 0 && *queued >= size / 2);
        self.receive_buffer = self.receive_buffer.max(fills);
        if self.stack.is_none() {
            self.stack = event.stack;
        }
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.extend(seen.life);
        }
    }

    /// Adds what happened because of it: only as evidence.
    pub fn add_consequence(&mut self, probe: Name<'a>, detail: Name<'a>, count: u64) {
        *self.evidence.entry(Evidence { probe, detail }).or_default() += count;
    }

    /// Adds another group.
    fn merge(&mut self, other: &Self) {
        if other.meaning.severity > self.meaning.severity {
            self.meaning = Rc::clone(&other.meaning);
        }
        self.drops += other.drops;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for (evidence, count) in &other.evidence {
            *self.evidence.entry(*evidence).or_default() += count;
        }
        self.flows.add_all(&other.flows);
        self.origins.add_all(&other.origins);
        self.destinations.add_all(&other.destinations);
        self.dropped_flows.add_all(&other.dropped_flows);
        self.devices.add_all(&other.devices);
        self.locations.add_all(&other.locations);
        self.reasons.add_all(&other.reasons);
        self.rules.add_all(&other.rules);
        self.receive_buffer = self.receive_buffer.max(other.receive_buffer);
        if self.stack.is_none() {
            self.stack = other.stack;
        }
        let room = MAX_EXAMPLES.saturating_sub(self.examples.len());
        self.examples.extend(other.examples.iter().take(room));
    }

    /// Packets that it hit: dropped ones, else what the most frequent evidence counts.
    fn packets(&self) -> u64 {
        if self.drops > 0 { self.drops } else { self.evidence.values().copied().max().unwrap_or(0) }
    }

    /// First and last time.
    fn span(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// The flows that were hit most, by dropped packets where there are any.
    fn top_flows(&self) -> Vec<Share<Flow<'a>>> {
        if self.drops > 0 { self.dropped_flows.top(MAX_NAMED) } else { self.flows.top(MAX_NAMED) }
    }

    /// The flows in it.
    fn flows(&self) -> impl Iterator<Item = &Flow<'a>> {
        self.flows.counts.keys()
    }
}

/// All groups.
pub(super) struct Groups<'a> {
    /// The capture's names.
    names: &'a Names,
    /// The tables.
    knowledge: &'a Knowledge,
    /// Groups by cause and victim.
    groups: AHashMap<Place<'a>, Group<'a>>,
    /// Grouping keys by cause.
    keys: AHashMap<Name<'a>, (Key, bool)>,
}

/// The place of a group.
pub(super) type Place<'a> = (Name<'a>, Victim<'a>);

impl<'a> Groups<'a> {
    /// No groups.
    pub fn new(names: &'a Names, knowledge: &'a Knowledge) -> Self {
        Self { names, knowledge, groups: AHashMap::default(), keys: AHashMap::default() }
    }

    /// Adds an observation to its group.
    pub fn add(&mut self, seen: &Observation<'_, 'a>) {
        let cause = self.names.name(&seen.meaning.cause);
        let knowledge = self.knowledge;
        let (key, syn_only) = *self.keys.entry(cause).or_insert_with(|| {
            let row = knowledge.grouping(cause.text());
            (row.key, row.syn_only)
        });
        if syn_only && !may_be_syn(seen.event) {
            return;
        }
        let mut place = (cause, victim(key, seen, self.names));
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&place) {
            place.1 = Victim::All;
        }
        self.groups.entry(place).or_insert_with(|| Group::new(Rc::clone(&seen.meaning))).add(seen);
    }

    /// Takes away what healthy traffic has, too. What TCP sent again arrives twice: `resent` says how often for a flow
    /// where it is sent, `old` where it arrives.
    pub fn drop_healthy(&mut self, resent: impl Fn(&Flow<'a>) -> u64, stale: impl Fn(&Flow<'a>) -> u64) {
        let knowledge = self.knowledge;
        self.groups.retain(|(cause, _), group| {
            let least = knowledge.grouping(cause.text()).least;
            if least <= 1 {
                return true;
            }
            let sent: u64 = group.origins.counts.keys().map(&resent).sum();
            let arrived: u64 = group.flows().map(&stale).sum();
            group.packets().saturating_sub(sent.max(arrived)) >= least
        });
    }

    /// The group at a place.
    pub fn get_mut(&mut self, place: &Place<'a>) -> Option<&mut Group<'a>> {
        self.groups.get_mut(place)
    }

    /// Groups by the flows that they hit, either way, translated or not, and by endpoint.
    pub fn index(&self) -> Index<'a> {
        let mut index = Index::default();
        let mut places: Vec<&Place<'a>> = self.groups.keys().collect();
        places.sort_unstable();
        for place in places {
            let group = &self.groups[place];
            group.flows().chain(group.origins.counts.keys()).for_each(|flow| {
                index.flows.entry(flow.either_way()).or_insert(*place);
            });
            if let Victim::Endpoint(addr, port) = place.1 {
                index.endpoints.entry((addr, port)).or_insert(*place);
            }
        }
        index
    }

    /// Joins neighbours that failed with the drops behind them: packets that went through a gateway are not
    /// addressed to it, but they waited on the same device.
    pub fn join_neighbours(&mut self, cause: &str, signal: &str) {
        let of_cause = self.places_of(self.names.name(cause));
        let has_signal = |group: &Group<'_>| group.evidence.keys().any(|e| e.detail == signal);
        let (mut failed, behind): (Vec<Place<'a>>, Vec<Place<'a>>) =
            of_cause.into_iter().partition(|place| has_signal(&self.groups[place]));
        failed.retain(|place| self.groups[place].drops == 0);
        for place in behind {
            let devices: AHashSet<Where<'a>> = self.groups[&place].devices.counts.keys().copied().collect();
            let gateway =
                failed.iter().find(|f| self.groups[*f].devices.counts.keys().any(|d| devices.contains(d)));
            if let Some(gateway) = gateway {
                self.move_into(&place, gateway);
            }
        }
    }

    /// Moves one group into another.
    fn move_into(&mut self, from: &Place<'a>, to: &Place<'a>) {
        if let Some(moved) = self.groups.remove(from)
            && let Some(group) = self.groups.get_mut(to)
        {
            group.merge(&moved);
        }
    }

    /// The places of a cause, in a fixed order.
    fn places_of(&self, cause: Name<'a>) -> Vec<Place<'a>> {
        let mut places: Vec<Place<'a>> = self.groups.keys().filter(|p| p.0 == cause).copied().collect();
        places.sort_unstable();
        places
    }

    /// Makes one group of a cause that has too many.
    fn collapse(&mut self) {
        let causes: AHashSet<Name<'a>> = self.groups.keys().map(|p| p.0).collect();
        for cause in causes {
            let places = self.places_of(cause);
            if places.len() <= self.knowledge.grouping(cause.text()).most {
                continue;
            }
            let all = (cause, Victim::All);
            let mut whole = Group::new(Rc::clone(&self.groups[&places[0]].meaning));
            for place in places {
                if let Some(group) = self.groups.remove(&place) {
                    whole.merge(&group);
                }
            }
            self.groups.insert(all, whole);
        }
    }

    /// The findings, worst first.
    pub fn findings(mut self, lost_during: impl Fn(u64, u64) -> bool) -> Vec<Finding> {
        self.collapse();
        let knowledge = self.knowledge;
        let mut findings: Vec<Finding> = self
            .groups
            .into_iter()
            .filter(|(_, group)| group.meaning.severity > Severity::Normal)
            .map(|((cause, victim), group)| finding(knowledge, cause, victim, &group, &lost_during))
            .collect();
        findings.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then(b.packets.value.cmp(&a.packets.value))
                .then(a.first.cmp(&b.first))
                .then_with(|| (&a.cause, &a.about).cmp(&(&b.cause, &b.about)))
        });
        findings
    }
}

/// Where flows are found again.
#[derive(Default)]
pub(super) struct Index<'a> {
    /// By flow, the same for both directions.
    flows: AHashMap<Flow<'a>, Place<'a>>,
    /// By address and port of the victim.
    endpoints: AHashMap<(Addr, Option<u16>), Place<'a>>,
}

impl<'a> Index<'a> {
    /// The group that explains what happened to a flow.
    pub fn find(&self, flow: &Flow<'a>) -> Option<Place<'a>> {
        let endpoint = |addr, port: Option<u16>| self.endpoints.get(&(addr, port)).filter(|_| port.is_some());
        self.flows
            .get(&flow.either_way())
            .or_else(|| endpoint(flow.dst, flow.dport))
            .or_else(|| endpoint(flow.src, flow.sport))
            .copied()
    }
}

/// Whether a TCP segment begins a connection, or nothing is known about its flags.
fn may_be_syn(event: &Snapshot<'_>) -> bool {
    let flags = event.tcp_flags;
    flags.is_none() || flags.text().contains('S') && !flags.text().contains('A')
}

/// What an observation is about.
fn victim<'a>(key: Key, seen: &Observation<'_, 'a>, names: &'a Names) -> Victim<'a> {
    match key {
        Key::Destination => Victim::Endpoint(seen.flow.dst, seen.flow.dport),
        Key::Address => Victim::Endpoint(seen.flow.dst, None),
        Key::Source => Victim::Endpoint(seen.flow.src, None),
        Key::Device => Victim::Device(seen.at),
        Key::Flow => Victim::Flow(seen.flow.either_way()),
        Key::Location => {
            Victim::Place(seen.event.reason, names.name(function_of(seen.event.location.text())))
        }
        Key::Reason => Victim::Place(seen.event.reason, Name::NONE),
        Key::Host => Victim::All,
    }
}

/// A group as a finding.
fn finding(
    knowledge: &Knowledge,
    cause: Name<'_>,
    victim: Victim<'_>,
    group: &Group<'_>,
    lost_during: &impl Fn(u64, u64) -> bool,
) -> Finding {
    let row = knowledge.cause(cause.text());
    let advice =
        if group.meaning.advice.is_empty() { row.map(|r| &r.advice) } else { Some(&group.meaning.advice) };
    let (first, last) = group.span();
    Finding {
        severity: group.meaning.severity,
        cause: cause.text().to_owned(),
        title: row.map_or_else(|| cause.text().to_owned(), |r| r.title.clone()),
        about: about(victim, group),
        packets: Count::exact(group.packets()),
        are_drops: group.drops > 0,
        flows: group.flows.count(),
        destinations: group.destinations.count(),
        first,
        last,
        locations: plain(group.locations.top(MAX_NAMED), |name| name.text().to_owned()),
        reasons: plain(group.reasons.top(MAX_NAMED), |name| name.text().to_owned()),
        rules: plain(group.rules.top(MAX_NAMED), |rule| rule.into()),
        devices: plain(group.devices.top(MAX_NAMED), device),
        top_flows: plain(group.top_flows(), |flow| flow.to_string()),
        means: group.meaning.means.clone(),
        advice: advice.cloned().unwrap_or_default(),
        counters: group.meaning.counters.clone(),
        evidence: evidence(group),
        figures: figures(group),
        stack: Some(group.stack.text().to_owned()).filter(|stack| !stack.is_empty()),
        examples: group.examples.iter().map(example).collect(),
        touched_by_loss: lost_during(first, last),
    }
}

/// Shares with what they are of as plain data.
fn plain<T, P>(shares: Vec<Share<T>>, plain: impl Fn(&T) -> P) -> Vec<Share<P>> {
    shares.into_iter().map(|share| Share { what: plain(&share.what), count: share.count }).collect()
}

/// A device as plain data.
fn device(at: &Where<'_>) -> Device {
    Device { dev: at.dev.text().to_owned(), netns: Some(at.netns).filter(|inode| *inode != 0) }
}

/// A life to look at as plain data.
fn example(life: &Example<'_>) -> finding::Example {
    let Example { skb, start, end, flow } = *life;
    finding::Example { skb, start, end, flow: flow.to_string() }
}

/// What a finding is about, as text.
fn about(victim: Victim<'_>, group: &Group<'_>) -> String {
    match victim {
        Victim::Endpoint(addr, port) if !addr.is_none() => with_port(addr, port),
        Victim::Device(at) if at.dev.is_some() => at.dev.text().to_owned(),
        Victim::Flow(flow) if !flow.is_none() => {
            group.flows.top(1).first().map_or_else(|| flow.to_string(), |f| f.what.to_string())
        }
        Victim::Place(reason, function) if function.is_none() => reason.or_dash().to_owned(),
        Victim::Place(reason, function) => format!("{} at {function}", reason.or_dash()),
        _ => destinations(group),
    }
}

/// How many destinations a group has.
fn destinations(group: &Group<'_>) -> String {
    let all = &group.destinations;
    match (all.count(), all.counts.keys().next()) {
        (_, None) => "this host".into(),
        (Count { value: 1, at_least: false }, Some((addr, port))) => with_port(*addr, *port),
        (many, _) => many.of("destination"),
    }
}

/// What was seen, most frequent first.
fn evidence(group: &Group<'_>) -> Vec<Share<String>> {
    let mut all: Vec<Share<String>> = group
        .evidence
        .iter()
        .map(|(e, count)| Share {
            what: format!("{} {}", e.probe, e.detail).trim().to_owned(),
            count: *count,
        })
        .collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then(a.what.cmp(&b.what)));
    all
}

/// Figures of a group.
fn figures(group: &Group<'_>) -> Vec<String> {
    let buffer = |(rmem, rcvbuf): (u32, u32)| {
        format!("receive buffer: {} of {} bytes queued", grouped(rmem.into()), grouped(rcvbuf.into()))
    };
    group.receive_buffer.map(buffer).into_iter().collect()
}

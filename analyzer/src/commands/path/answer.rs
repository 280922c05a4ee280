//! The answer about the packets of one direction.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use crate::answer::{Answer, Labels, Table, optional};
use crate::journey::exchange::Exchanges;
use crate::journey::summary::{Direction, Ends, Loss, LossKey, Passed, Segment};
use crate::journey::verdict::Verdict;
use crate::latency::Distribution;
use crate::numbers::{counted, grouped};
use crate::times::span;

/// Columns of CSV: a record a segment.
pub const COLUMNS: [&str; 14] = [
    "from", "to", "segment", "packets", "lost", "unknown", "p50_ns", "p90_ns", "p99_ns", "p99.9_ns",
    "max_ns", "mean_ns", "bound_ns", "inverted",
];

/// A bound above this is none, ns: 10 years.
const UNBOUNDED: u64 = 315_360_000_000_000_000;

/// What shows hosts and packets.
pub struct Shown<'s> {
    /// By host.
    pub labels: &'s [Labels],
}

impl Shown<'_> {
    /// The name of a host; of none what stands for all that were not recorded.
    pub fn host(&self, host: Option<usize>) -> String {
        host.map_or_else(|| "elsewhere".to_owned(), |host| self.labels[host].host.clone())
    }

    /// The name of a segment.
    fn segment(&self, segment: Segment) -> String {
        match segment {
            Segment::Inside(host) => format!("inside {}", self.host(Some(host))),
            Segment::Between(from, to) => format!("{} -> {}", self.host(Some(from)), self.host(Some(to))),
        }
    }
}

/// Packets of one direction.
#[derive(Debug, Serialize)]
pub struct DirectionAnswer {
    /// Host that has the packets' first source; none: one that was not recorded.
    pub from: Option<String>,
    /// Host that has their last destination.
    pub to: Option<String>,
    /// Packets.
    pub packets: u64,
    /// Those of them that are known to be lost.
    pub lost: u64,
    /// What became of them, by name.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Joints between hosts that may have been of other packets.
    pub ambiguous: u64,
    /// The hosts and networks of the way.
    pub segments: Vec<SegmentAnswer>,
    /// How packets were lost.
    pub losses: Vec<LossAnswer>,
    /// Requests of ICMP echo and their replies, if there are any.
    pub echo: Option<EchoAnswer>,
    /// For people.
    #[serde(skip)]
    title: String,
}

/// A host or network of the way.
#[derive(Debug, Serialize)]
pub struct SegmentAnswer {
    /// Its name.
    pub segment: String,
    /// Packets that came there.
    pub packets: u64,
    /// Those of them that were lost there.
    pub lost: u64,
    /// Those of which the capture does not show the end.
    pub unknown: u64,
    /// How long the others took, if there are any.
    pub times: Option<TimesAnswer>,
}

/// Requests of ICMP echo, and their replies.
#[derive(Debug, Serialize)]
pub struct EchoAnswer {
    /// What became of them, by name.
    pub statuses: BTreeMap<&'static str, u64>,
    /// From leaving the first recorded host to coming back into it.
    pub outside: Option<TimesAnswer>,
    /// From coming into the last recorded host to leaving it again.
    pub turn: Option<TimesAnswer>,
    /// All networks and hosts between these, both ways; no clock is needed for it.
    pub between: Option<TimesAnswer>,
}

/// Times, ns.
#[derive(Debug, Serialize)]
pub struct TimesAnswer {
    /// The time that half of them took at most.
    pub p50: u64,
    /// That 90 % took at most.
    pub p90: u64,
    /// That 99 % took at most.
    pub p99: u64,
    /// That 99.9 % took at most.
    #[serde(rename = "p99.9")]
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: u64,
    /// By how much half of them may be off at most, as the clocks of two hosts are compared. None: inside a host, where there
    /// is one clock, or where nothing bounds it.
    pub bound: Option<u64>,
    /// Whether nothing bounds it: all that the clocks say is which way they are apart, or not even that.
    pub unbounded: bool,
    /// Packets that came out before they went in, as the clocks are estimated.
    pub inverted: u64,
}

/// Packets that were lost in the same way.
#[derive(Debug, Serialize)]
pub struct LossAnswer {
    /// What became of them.
    pub verdict: &'static str,
    /// Host that dropped them, or that they left last.
    pub host: String,
    /// Host that they did not come into.
    pub to: Option<String>,
    /// The kernel's reason, where a host dropped them.
    pub reason: Option<String>,
    /// The function that dropped them.
    pub location: Option<String>,
    /// How many.
    pub count: u64,
    /// The first of them: its time at that host.
    pub time: String,
    /// Its addresses there.
    pub flow: String,
    /// The device that it left, where it left.
    pub dev: Option<String>,
}

impl DirectionAnswer {
    /// Of what was counted.
    pub fn new(
        ends: Ends,
        direction: &Direction,
        losses: &BTreeMap<(Ends, LossKey), Loss<'_>>,
        shown: &Shown<'_>,
    ) -> Self {
        let mut verdicts = BTreeMap::new();
        for (verdict, count) in &direction.verdicts {
            *verdicts.entry(verdict.name()).or_default() += count;
        }
        let lost = direction.verdicts.iter().filter(|(verdict, _)| verdict.is_loss()).map(|(_, count)| count);
        let name = |host: Option<usize>| host.map(|host| shown.host(Some(host)));
        let of_these = losses.iter().filter(|((of, _), _)| *of == ends);
        let segment = |((_, segment), passed): (&(usize, Segment), &Passed)| SegmentAnswer {
            segment: shown.segment(*segment),
            packets: passed.packets,
            lost: passed.lost,
            unknown: passed.unknown,
            times: TimesAnswer::of(&passed.times, Some(&passed.bounds), passed.inverted),
        };
        Self {
            from: name(ends.0),
            to: name(ends.1),
            packets: direction.packets,
            lost: lost.sum(),
            verdicts,
            ambiguous: direction.ambiguous,
            segments: direction.segments.iter().map(segment).collect(),
            losses: of_these.map(|((_, key), loss)| LossAnswer::new(key, loss, shown)).collect(),
            echo: EchoAnswer::of(&direction.exchanges),
            title: format!("{} -> {}", shown.host(ends.0), shown.host(ends.1)),
        }
    }
}

impl EchoAnswer {
    /// Of what was counted, if anything was.
    fn of(exchanges: &Exchanges) -> Option<Self> {
        let times = |times: &Distribution| TimesAnswer::of(times, None, 0);
        (!exchanges.statuses.is_empty()).then(|| Self {
            statuses: exchanges.statuses.iter().map(|(status, count)| (status.name(), *count)).collect(),
            outside: times(&exchanges.outside),
            turn: times(&exchanges.turn),
            between: times(&exchanges.between),
        })
    }

    /// Writes it as text, with names of `width`.
    fn text(&self, width: usize, out: &mut dyn Write) -> Result<()> {
        let statuses: Vec<String> =
            self.statuses.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
        writeln!(out, "  ICMP echo: {}", statuses.join(", "))?;
        let lines = [
            ("  round trip", &self.outside),
            ("  turn-around", &self.turn),
            ("  network, both ways", &self.between),
        ];
        for (name, times) in lines {
            let Some(times) = times else { continue };
            let [p50, p99, max] = [times.p50, times.p99, times.max].map(span);
            writeln!(
                out,
                "  {name:width$}  {:>10}  {:>8}  {:>8}  {p50:>10}  {p99:>10}  {max:>10}",
                "", "", ""
            )?;
        }
        Ok(())
    }
}

impl TimesAnswer {
    /// Of a distribution.
    fn of(times: &Distribution, bounds: Option<&Distribution>, inverted: u64) -> Option<Self> {
        let bound = bounds.filter(|bounds| bounds.count > 0).map(|bounds| bounds.quantiles([0.5])[0]);
        let unbounded = bound.is_some_and(|bound| bound > UNBOUNDED);
        let bound = bound.filter(|_| !unbounded);
        let [p50, p90, p99, p999] = times.quantiles([0.5, 0.9, 0.99, 0.999]);
        let (max, mean) = (times.max, times.mean());
        (times.count > 0).then_some(Self { p50, p90, p99, p999, max, mean, bound, unbounded, inverted })
    }
}

impl TimesAnswer {
    /// How far the times may be off, for people.
    fn bound(&self) -> String {
        match self.bound {
            _ if self.unbounded => "  +- unknown".to_owned(),
            Some(bound) => format!("  +- {}", span(bound)),
            None => String::new(),
        }
    }
}

impl LossAnswer {
    /// Of what was lost.
    fn new(key: &LossKey, loss: &Loss<'_>, shown: &Shown<'_>) -> Self {
        let leg = &loss.example;
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let to = match key.verdict {
            Verdict::Network { to, .. } => Some(shown.host(Some(to))),
            _ => None,
        };
        Self {
            verdict: key.verdict.name(),
            host: shown.host(Some(leg.host)),
            to,
            reason: text(&key.reason),
            location: text(&key.location),
            count: loss.count,
            time: shown.labels[leg.host].times.show(leg.span().1),
            flow: leg.last_flow().to_string(),
            dev: leg.left.as_ref().and_then(|left| text(left.at.dev.text())),
        }
    }

    /// As a sentence.
    fn sentence(&self) -> String {
        let what = match (&self.to, &self.reason) {
            (Some(to), _) => format!("lost between {} and {to}", self.host),
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or("-");
                let at = self.location.as_deref().unwrap_or("-");
                format!("dropped in {}: {reason} at {at}", self.host)
            }
        };
        let by = self.dev.as_ref().map_or_else(String::new, |dev| format!(", sent by {dev}"));
        format!("{} {what}; the first at {}: {}{by}", grouped(self.count), self.time, self.flow)
    }
}

impl Answer for DirectionAnswer {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "\n{}: {}, {} lost", self.title, counted(self.packets, "packet"), grouped(self.lost))?;
        let head = ["packets", "lost", "unknown", "p50", "p99", "max"];
        let width =
            self.segments.iter().map(|segment| segment.segment.chars().count()).max().unwrap_or(0).max(20);
        writeln!(
            out,
            "  {:width$}  {:>10}  {:>8}  {:>8}  {:>10}  {:>10}  {:>10}",
            "", head[0], head[1], head[2], head[3], head[4], head[5]
        )?;
        for segment in &self.segments {
            segment.line(width, out)?;
        }
        let other = |(name, count): (&&str, &u64)| format!("{} {name}", grouped(*count));
        let others: Vec<String> = self.verdicts.iter().map(other).collect();
        writeln!(out, "  {}", others.join(", "))?;
        if self.ambiguous > 0 {
            let count = counted(self.ambiguous, "packet");
            writeln!(out, "  {count} of these may have been another: only their order tells them apart")?;
        }
        if let Some(echo) = &self.echo {
            echo.text(width, out)?;
        }
        Ok(self.losses.iter().try_for_each(|loss| writeln!(out, "  ! {}", loss.sentence()))?)
    }

    fn records(&self, _: &Labels, table: &mut Table<'_>) -> Result<()> {
        for segment in &self.segments {
            let time = |of: fn(&TimesAnswer) -> u64| optional(segment.times.as_ref().map(of));
            table.record([
                self.from.clone().unwrap_or_default(),
                self.to.clone().unwrap_or_default(),
                segment.segment.clone(),
                segment.packets.to_string(),
                segment.lost.to_string(),
                segment.unknown.to_string(),
                time(|times| times.p50),
                time(|times| times.p90),
                time(|times| times.p99),
                time(|times| times.p999),
                time(|times| times.max),
                time(|times| times.mean),
                optional(segment.times.as_ref().and_then(|times| times.bound)),
                time(|times| times.inverted),
            ])?;
        }
        Ok(())
    }
}

impl SegmentAnswer {
    /// A line of text.
    fn line(&self, width: usize, out: &mut dyn Write) -> Result<()> {
        let [p50, p99, max] = match &self.times {
            Some(times) => [times.p50, times.p99, times.max].map(span),
            None => ["-".to_owned(), "-".to_owned(), "-".to_owned()],
        };
        let bound = self.times.as_ref().map_or_else(String::new, TimesAnswer::bound);
        let (packets, lost, unknown) = (grouped(self.packets), grouped(self.lost), grouped(self.unknown));
        let name = &self.segment;
        writeln!(
            out,
            "  {name:width$}  {packets:>10}  {lost:>8}  {unknown:>8}  {p50:>10}  {p99:>10}  {max:>10}{bound}"
        )?;
        Ok(())
    }
}

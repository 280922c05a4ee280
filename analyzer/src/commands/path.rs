//! `ntana path`: where packets are lost or late, inside which host, or on the network between two.

mod answer;
mod clock;
mod packet;
mod way;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use serde::Serialize;

use super::exit_code;
use crate::answer::{Labels, Output};
use crate::args;
use crate::captures;
use crate::journey::hosts::Hosts;
use crate::journey::join::join;
use crate::journey::leg::Devices;
use crate::journey::routes::Routes;
use crate::journey::summary::Summary;
use crate::journey::verdict::Judge;
use crate::journey::ways::ways;
use crate::journey::{legs, survey};
use crate::knowledge::Knowledge;
use crate::loss::Losses;
use crate::numbers::counted;
use answer::{DirectionAnswer, Shown};
use clock::{ClockAnswer, HostAnswer};
use packet::PacketAnswer;
use way::WayAnswer;

/// What all packets come to.
#[derive(Debug, Default, Serialize)]
struct Totals {
    /// Packets.
    packets: u64,
    /// Those of them that are known to be lost.
    lost: u64,
    /// Packets that came into a host a second time.
    duplicates: u64,
    /// Packets of which no header was recorded.
    unidentified: u64,
}

/// Runs the command.
pub fn run(args: &args::Path, out: &mut dyn Write) -> Result<ExitCode> {
    if args.filter.limit.is_some() && !args.verbose && !args.list {
        bail!("--limit is about what --verbose or --list shows: give one of them with it");
    }
    let limit = args.filter.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let knowledge = Knowledge::load(&args.input.rules)?;
    let (mut sources, all) = captures::open(&args.input, &args.filter);
    let surveys = survey(&mut sources, &knowledge)?;
    let hosts = Hosts::new(&sources, &surveys);
    let (legs, devices) = legs(&sources, &knowledge)?;
    let joined = join(&legs, &hosts);
    let routes = Routes::new(&legs, &joined);
    let losses: Vec<&Losses> = sources.iter().map(|source| &source.losses).collect();
    let grace = i64::try_from(args.timeout.as_nanos()).unwrap_or(i64::MAX);
    let judge =
        Judge { legs: &legs, joined: &joined, hosts: &hosts, routes: &routes, losses: &losses, grace };

    let labels = captures::labels(&sources);
    let columns: &[&str] = match (args.verbose, args.list) {
        (true, _) => &packet::COLUMNS,
        (_, true) => &way::COLUMNS,
        _ => &answer::COLUMNS,
    };
    let mut output = Output::begin(args.input.format, columns, out)?;
    for (host, source) in sources.iter().enumerate() {
        let clock = ClockAnswer::of(host, &hosts, &labels);
        output.capture(&HostAnswer { head: source.head(), clock }, &labels[host])?;
    }
    let totals = match (args.verbose, args.list) {
        (true, _) => show_packets(&judge, limit, &labels, &mut output)?,
        (_, true) => show_ways(&judge, (&devices, limit), &labels, &mut output)?,
        _ => show_directions(&judge, &labels, &mut output)?,
    };
    let line = format!("{}, {} lost", counted(totals.packets, "packet"), totals.lost);
    output.finish(&totals, &line)?;
    Ok(exit_code(all))
}

/// Shows what is counted.
fn show_directions(judge: &Judge<'_, '_>, labels: &[Labels], output: &mut Output<'_>) -> Result<Totals> {
    let summary = Summary::of(judge);
    let mut totals =
        Totals { duplicates: summary.duplicates, unidentified: summary.unidentified, ..Totals::default() };
    let mut directions: Vec<_> = summary.directions.iter().collect();
    directions.sort_by_key(|((from, to), _)| (from.is_none() || to.is_none(), *from, *to));
    output.begin_common_list("directions")?;
    for (ends, direction) in directions {
        let answer = DirectionAnswer::new(*ends, direction, &summary.losses, &Shown { labels });
        totals.packets += answer.packets;
        totals.lost += answer.lost;
        output.item(&answer, &labels[0])?;
    }
    remarks(&totals).iter().try_for_each(|line| output.remark(line))?;
    Ok(totals)
}

/// What stands behind the directions, for people.
fn remarks(totals: &Totals) -> Vec<String> {
    let some = |count: u64, what: &str| (count > 0).then(|| format!("\n{} {what}", counted(count, "packet")));
    let duplicates = some(totals.duplicates, "came into a host once more: duplicates");
    let unidentified = some(totals.unidentified, "without a recorded header, which are in none of these");
    duplicates.into_iter().chain(unidentified).collect()
}

/// Shows one packet after another, so many at most.
fn show_packets(
    judge: &Judge<'_, '_>,
    limit: usize,
    labels: &[Labels],
    output: &mut Output<'_>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    output.begin_common_list("packets")?;
    for root in judge.roots().take(limit) {
        totals.packets += 1;
        totals.lost += u64::from(judge.verdict(root).is_loss());
        let answer = PacketAnswer::new(totals.packets, &judge.way(root), judge, &Shown { labels });
        output.item(&answer, &labels[0])?;
    }
    Ok(totals)
}

/// Shows which devices packets crossed, so many ways at most.
fn show_ways(
    judge: &Judge<'_, '_>,
    (devices, limit): (&[Devices<'_>], usize),
    labels: &[Labels],
    output: &mut Output<'_>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    let (ways, is_full) = ways(judge);
    output.begin_common_list("ways")?;
    output.remark(&format!("\n{:>10}  {:>8}  {:>10}  {:>10}  WAY", "PACKETS", "LOST", "P50", "P99"))?;
    for (way, went) in ways.iter().take(limit) {
        totals.packets += went.packets;
        totals.lost += went.lost;
        output.item(&WayAnswer::new(way, went, devices, &Shown { labels }), &labels[0])?;
    }
    if is_full {
        output.remark("packets went more ways than are told apart: filter them")?;
    }
    Ok(totals)
}

//! The answer about packets that crossed the same devices.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::answer::Shown;
use crate::answer::{Answer, Labels, Table};
use crate::journey::leg::{Devices, Step};
use crate::journey::ways::{self, Went};
use crate::lifecycle;
use crate::numbers::grouped;
use crate::times::span;

/// Columns of CSV: a record a way.
pub const COLUMNS: [&str; 7] = ["packets", "lost", "p50_ns", "p99_ns", "max_ns", "mean_ns", "way"];

/// Packets that went the same way.
#[derive(Debug, Serialize)]
pub struct WayAnswer {
    /// How many.
    pub packets: u64,
    /// Those of them that were lost behind it.
    pub lost: u64,
    /// The time that half of them took at most from the first to the last sighting, ns.
    pub p50: u64,
    /// That 99 % took at most.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: u64,
    /// The devices, by host.
    pub way: Vec<HostWay>,
}

/// The devices of one host.
#[derive(Debug, Serialize)]
pub struct HostWay {
    /// The host.
    pub host: String,
    /// Devices in order, each with its direction: `in eth0`.
    pub devices: Vec<String>,
}

impl WayAnswer {
    /// Of what was counted.
    pub fn new(way: &ways::Way, went: &Went, devices: &[Devices<'_>], shown: &Shown<'_>) -> Self {
        let [p50, p99] = went.times.quantiles([0.5, 0.99]);
        let host = |(host, number): &(usize, usize)| HostWay {
            host: shown.host(Some(*host)),
            devices: named(devices[*host].get(*number), &shown.labels[*host]),
        };
        Self {
            packets: went.packets,
            lost: went.lost,
            p50,
            p99,
            max: went.times.max,
            mean: went.times.mean(),
            way: way.iter().map(host).collect(),
        }
    }

    /// The way as text.
    fn way(&self) -> String {
        let host = |host: &HostWay| format!("{}: {}", host.host, host.devices.join(", "));
        self.way.iter().map(host).collect::<Vec<_>>().join(" | ")
    }
}

/// Devices with their direction; with their namespace, too, where there are several.
fn named(steps: &[Step<'_>], labels: &Labels) -> Vec<String> {
    let several = steps.windows(2).any(|two| two[0].0.netns != two[1].0.netns);
    let name = |(at, way): &Step<'_>| {
        let way = match way {
            lifecycle::Way::In => "in",
            lifecycle::Way::Out => "out",
        };
        let netns = if several { format!("@{}", labels.netns(at.netns)) } else { String::new() };
        format!("{way} {}{netns}", at.dev.or_dash())
    };
    if steps.is_empty() { vec!["no device".to_owned()] } else { steps.iter().map(name).collect() }
}

impl Answer for WayAnswer {
    fn text(&self, _: &Labels, out: &mut dyn Write) -> Result<()> {
        let [p50, p99] = [self.p50, self.p99].map(span);
        let (packets, lost) = (grouped(self.packets), grouped(self.lost));
        writeln!(out, "{packets:>10}  {lost:>8}  {p50:>10}  {p99:>10}  {}", self.way())?;
        Ok(())
    }

    fn records(&self, _: &Labels, table: &mut Table<'_>) -> Result<()> {
        let numbers = [self.packets, self.lost, self.p50, self.p99, self.max, self.mean];
        table.record(numbers.iter().map(u64::to_string).chain([self.way()]))
    }
}

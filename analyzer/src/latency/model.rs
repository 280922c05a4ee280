//! Models of packets' ways as a capture can show them: which stages there are, and which of them were recorded.

use anyhow::{Result, bail};
use ntc::{Metadata, catalog};
use wildmatch::WildMatch;

use super::legs::Leg;
use crate::event::Effect;
use crate::knowledge::{self, Join, Knowledge, Within};
use crate::lifecycle::Sighting;
use crate::names::Name;
use crate::probes::{Probes, RETURN};

/// Stages of a model at most: each has a number of 8 bits.
const MAX_STAGES: usize = 64;
/// The stage at which packets end, of the catalog.
const FREE: &str = "free";

/// A stage of a model.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Probes, any of which shows a packet there.
    pub probes: Vec<String>,
    /// Whether one of them was recorded.
    pub recorded: bool,
    /// Those that would have recorded it; empty where the kernel has none of them.
    pub offered: Vec<String>,
    /// The only devices on which it is.
    devices: Vec<WildMatch>,
}

/// Stages whose legs are measured.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What it measures.
    pub what: String,
    /// Its stages, in the order of the way; then those of the packet that answers.
    pub stages: Vec<Stage>,
    /// Where those begin; the number of all where no packet answers.
    pub reply: usize,
    /// By what the packet that answers is found.
    pub join: Option<Join>,
    /// What the packet may not leave.
    pub within: Within,
    /// Whether only packets count that were seen at the first of the recorded stages.
    pub entire: bool,
    /// Its stages, or those of the packet that is answered.
    pub sent: Part,
    /// The stages of the packet that answers.
    pub answering: Part,
    /// Whether some of its stages are on some devices only.
    has_roles: bool,
    /// By number of a probe that is asked for: its stages, a bit each.
    by_probe: Vec<u64>,
}

impl Model {
    /// The model of a row, as a capture can show it.
    pub fn of(row: &knowledge::Model, knowledge: &Knowledge, metadata: &Metadata) -> Result<Self> {
        let names = row.stages.iter().chain(&row.reply);
        if names.clone().count() >= MAX_STAGES {
            bail!("the model {} has too many stages: there is room for {}", row.name, MAX_STAGES - 1);
        }
        let stages = names.map(|name| stage(name, knowledge, metadata)).collect::<Result<Vec<Stage>>>()?;
        let stages = told_apart(stages, row.stages.len());
        Ok(Self {
            name: row.name.clone(),
            what: row.what.clone(),
            has_roles: stages.iter().any(|stage| !stage.devices.is_empty()),
            sent: Part::default(),
            answering: Part::default(),
            stages,
            reply: row.stages.len(),
            join: row.join,
            within: row.within,
            entire: row.entire,
            by_probe: Vec::new(),
        }
        .in_parts())
    }

    /// A model of two stages.
    pub fn between(from: &str, to: &str, knowledge: &Knowledge, metadata: &Metadata) -> Result<Self> {
        let row = knowledge::Model::of_stages([from, to].map(str::to_owned).into());
        let model = Self::of(&row, knowledge, metadata)?;
        let [from, to] = [0, 1].map(|stage| &model.stages[stage].name);
        if from == to {
            bail!("--from and --to are both {from}: the time between two stages needs two");
        }
        Ok(Self { name: format!("{from} -> {to}"), ..model })
    }

    /// The same with the packet's end as a further stage.
    pub fn with_free(mut self, knowledge: &Knowledge, metadata: &Metadata) -> Result<Self> {
        if self.join.is_none() && self.stages.last().is_none_or(|last| last.name != FREE) {
            self.stages.push(stage(FREE, knowledge, metadata)?);
            self.reply = self.stages.len();
        }
        Ok(self.in_parts())
    }

    /// The same with its stages in the other order.
    pub fn reversed(&self) -> Self {
        let unused = MAX_STAGES - self.stages.len();
        Self {
            stages: self.stages.iter().rev().cloned().collect(),
            by_probe: self.by_probe.iter().map(|stages| stages.reverse_bits() >> unused).collect(),
            ..self.clone()
        }
        .in_parts()
    }

    /// With its parts as its stages have them.
    fn in_parts(mut self) -> Self {
        self.sent = Part::of(&self.stages, 0, self.reply);
        self.answering = Part::of(&self.stages, self.reply, self.stages.len());
        self
    }

    /// Asks for the probes of its stages.
    pub fn ask(&mut self, probes: &mut Probes) {
        for (index, stage) in self.stages.iter().enumerate() {
            for probe in &stage.probes {
                let number = usize::from(probes.ask(probe));
                if self.by_probe.len() <= number {
                    self.by_probe.resize(number + 1, 0);
                }
                self.by_probe[number] |= 1 << index;
            }
        }
    }

    /// The stage that a sighting shows, of a part: the first behind `after`, or else the first.
    #[inline]
    pub fn stage_of(&self, seen: &Sighting<'_>, part: Part, after: Option<u8>) -> Option<u8> {
        let mut stages = self.by_probe.get(usize::from(seen.asked?))? & part.stages();
        if self.has_roles {
            stages = self.on_device(stages, seen);
        }
        let behind = after.map_or(stages, |after| stages & (u64::MAX << after << 1));
        let fitting = if behind == 0 { stages } else { behind };
        (fitting != 0).then(|| fitting.trailing_zeros() as u8)
    }

    /// Those of some stages that are on the device where a packet was seen.
    fn on_device(&self, stages: u64, seen: &Sighting<'_>) -> u64 {
        let is_off = |stage: &usize| stages >> stage & 1 != 0 && !self.stages[*stage].is_on(seen.at.dev);
        (0..self.stages.len()).filter(is_off).fold(stages, |left, stage| left & !(1 << stage))
    }

    /// Whether a probe that is asked for shows a packet at a stage.
    pub fn has_probe(&self, asked: u16, stage: u8) -> bool {
        self.by_probe.get(usize::from(asked)).is_some_and(|stages| stages >> stage & 1 != 0)
    }

    /// The row about the time of a leg.
    pub fn limit<'k>(&self, leg: Leg, knowledge: &'k Knowledge) -> Option<&'k knowledge::Limit> {
        let name = |stage: u8| self.stages[usize::from(stage)].name.as_str();
        match leg {
            Leg::Between(from, to) => {
                let is_whole = self.stages.len() == 2;
                let of_leg = knowledge.limit(&self.name, Some((name(from), name(to))));
                of_leg.or_else(|| knowledge.limit(&self.name, None).filter(|_| is_whole))
            }
            Leg::Whole => knowledge.limit(&self.name, None),
        }
    }

    /// Whether it can be measured: two of its stages were recorded, one of each packet where there are two.
    pub fn can_be_measured(&self) -> bool {
        match self.join {
            None => self.sent.recorded > 1,
            Some(_) => self.sent.recorded > 0 && self.answering.recorded > 0,
        }
    }

    /// Whether its whole way is more than one leg.
    pub fn has_whole(&self) -> bool {
        self.sent.recorded + self.answering.recorded > 2
    }

    /// The stages that were not recorded.
    pub fn missing(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().filter(|stage| !stage.recorded)
    }
}

impl Stage {
    /// Whether it is on a device.
    fn is_on(&self, dev: Name<'_>) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|pattern| pattern.matches(dev.text()))
    }
}

/// Some stages of a model, one behind the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Part {
    /// The first of them that was recorded.
    pub first: u8,
    /// The last of them that was recorded.
    pub last: u8,
    /// How many of them were recorded.
    pub recorded: u8,
}

impl Part {
    /// Those from `begin` up to `end`.
    fn of(stages: &[Stage], begin: usize, end: usize) -> Self {
        let recorded = |index: &usize| stages[*index].recorded;
        let first = (begin..end).find(recorded).unwrap_or(begin);
        let last = (begin..end).rfind(recorded).unwrap_or(begin);
        let count = (begin..end).filter(recorded).count();
        Self { first: first as u8, last: last as u8, recorded: count as u8 }
    }

    /// The same, a bit each.
    fn stages(self) -> u64 {
        (u64::MAX << self.first) & (u64::MAX >> (63 - self.last))
    }
}

impl Within {
    /// Whether a packet has left it when this happens.
    pub fn is_left_by(self, effect: Effect) -> bool {
        match self {
            Self::Anywhere | Self::Device => false,
            Self::Sending => matches!(effect, Effect::RxEntry | Effect::RxBacklog | Effect::Receive),
            Self::Receiving => matches!(effect, Effect::Queue | Effect::Start),
        }
    }
}

/// With other names for those stages of the packet that answers which the one that is answered has, too.
fn told_apart(mut stages: Vec<Stage>, reply: usize) -> Vec<Stage> {
    let (sent, answering) = stages.split_at_mut(reply);
    for stage in answering.iter_mut().filter(|stage| sent.iter().any(|known| known.name == stage.name)) {
        stage.name = format!("{} of the reply", stage.name);
    }
    stages
}

/// The stage of a name: a probe, a row, or a stage of the catalog.
fn stage(name: &str, knowledge: &Knowledge, metadata: &Metadata) -> Result<Stage> {
    let row = knowledge.stages().iter().find(|stage| stage.name == name);
    let known = |probe: &str| metadata.probes.iter().any(|p| p.name == probe);
    let (function, is_return) = parts(name);
    let probes: Vec<String> = match (row, catalog::by_name(function)) {
        (Some(row), _) => row.probes.clone(),
        (None, Some(_)) if is_return => vec![name.to_owned()],
        (None, Some(probe)) => vec![probe.name.to_owned()],
        (None, None) if known(function) => vec![name.to_owned()],
        (None, None) => {
            let of_stage = |p: &&catalog::Probe| p.stage.is_some_and(|stage| stage.name == name);
            catalog::probes().iter().filter(of_stage).map(|probe| probe.name.to_owned()).collect()
        }
    };
    if probes.is_empty() {
        bail!("there is no probe or stage `{name}`; {}", nearest_stage(name, knowledge, metadata));
    }
    let has_none = |known: &catalog::Probe| is_return && !known.has_return() && !is_recorded(name, metadata);
    if catalog::by_name(function).is_some_and(has_none) {
        bail!("ntrec records no return of {function}: it says nothing");
    }
    let role = row.and_then(|row| row.role.as_deref());
    let devices = knowledge.roles().iter().filter(|known| Some(known.name.as_str()) == role);
    let recorded = probes.iter().any(|probe| is_recorded(probe, metadata));
    let offered =
        probes.iter().filter(|probe| !is_absent(probe, metadata)).map(|probe| parts(probe).0.to_owned());
    Ok(Stage {
        name: probes
            .first()
            .filter(|_| row.is_none() && probes.len() == 1)
            .map_or(name, String::as_str)
            .to_owned(),
        recorded,
        offered: offered.collect(),
        devices: devices.flat_map(|role| &role.devices).map(|pattern| WildMatch::new(pattern)).collect(),
        probes,
    })
}

/// Whether a probe, or a function's return, was recorded. A capture that does not tell may have any.
fn is_recorded(probe: &str, metadata: &Metadata) -> bool {
    let (name, is_return) = parts(probe);
    let has_return = |known: &ntc::Probe| {
        known.returns.unwrap_or_else(|| catalog::by_name(name).is_none_or(catalog::Probe::has_return))
    };
    let is_it = |known: &ntc::Probe| {
        known.name == name && !known.backend.is_empty() && (!is_return || has_return(known))
    };
    metadata.probes.is_empty() || metadata.probes.iter().any(is_it)
}

/// The name of a probe, and whether its return is meant.
fn parts(probe: &str) -> (&str, bool) {
    probe.strip_suffix(RETURN).map_or((probe, false), |function| (function, true))
}

/// Whether the recorded kernel has no such probe.
fn is_absent(probe: &str, metadata: &Metadata) -> bool {
    metadata.probes.iter().any(|known| known.name == parts(probe).0 && known.absent)
}

/// Where to look when there is no stage of a name.
fn nearest_stage(word: &str, knowledge: &Knowledge, metadata: &Metadata) -> String {
    let rows = knowledge.stages().iter().map(|stage| stage.name.as_str());
    let of_catalog = catalog::stages().iter().map(|stage| stage.name);
    let probes = catalog::probes().iter().map(|probe| probe.name);
    let recorded = metadata.probes.iter().map(|probe| probe.name.as_str());
    let names = rows.chain(of_catalog).chain(probes).chain(recorded);
    words::nearest(word, names).unwrap_or_else(|| "`ntrec probes` lists the probes".to_owned())
}

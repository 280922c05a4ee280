//! The rows about stages: where a packet is on its way, and between which of these places the time is measured.

use std::collections::BTreeSet;

use serde::Deserialize;

/// A station on a packet's way.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// What happens there.
    pub what: String,
    /// Probes, any of which shows a packet there.
    pub probes: Vec<String>,
    /// Only on devices of this [`Role`].
    #[serde(default)]
    pub role: Option<String>,
}

/// Devices by what they are for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Patterns of names of devices.
    pub devices: Vec<String>,
}

/// By what two packets belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// An ICMP echo request and its reply.
    Echo,
    /// A TCP segment and the first that acknowledges its last byte.
    Ack,
    /// A packet that leaves its `sk_buff`, and the new one that it comes back in.
    Again,
}

/// What a packet may not leave between two stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Within {
    /// It may go anywhere.
    #[default]
    Anywhere,
    /// Its way out: what a device receives has left it.
    Sending,
    /// Its way in: what is given to a device's queue has left it.
    Receiving,
    /// One device.
    Device,
}

/// Stages whose legs are measured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What it measures.
    pub what: String,
    /// Stages in the order of the way.
    pub stages: Vec<String>,
    /// Stages of the packet that answers.
    #[serde(default)]
    pub reply: Vec<String>,
    /// By what the packet that answers is found.
    #[serde(default)]
    pub join: Option<Join>,
    /// What the packet may not leave; where one answers, it goes the other way.
    #[serde(default)]
    pub within: Within,
    /// Whether only packets count that were seen at the first of the recorded stages.
    #[serde(default)]
    pub entire: bool,
    /// Whether it is measured where no model is asked for.
    #[serde(default)]
    pub first: bool,
}

impl Model {
    /// A model of stages that no row has.
    pub fn of_stages(stages: Vec<String>) -> Self {
        let (name, what, reply) = (String::new(), String::new(), Vec::new());
        let within = Within::Anywhere;
        Self { name, what, stages, reply, join: None, within, entire: false, first: false }
    }
}

/// From which time on a leg is abnormal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Which model.
    pub model: String,
    /// Where the leg begins; none: it is about the whole way.
    #[serde(default)]
    pub from: Option<String>,
    /// Where the leg ends.
    #[serde(default)]
    pub to: Option<String>,
    /// Microseconds.
    pub us: u64,
    /// Where the number comes from.
    pub source: String,
}

impl Limit {
    /// What it is about.
    pub fn place(&self) -> (String, Option<String>, Option<String>) {
        (self.model.clone(), self.from.clone(), self.to.clone())
    }
}

/// Whether every stage, role and model that is named exists, and each model can be measured. `is_stage` knows the names
/// that no [`Stage`] has: probes, and stages of the catalog.
pub fn check(
    stages: &[Stage],
    roles: &[Role],
    models: &[Model],
    is_stage: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let names: BTreeSet<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    for stage in stages {
        let role = stage.role.as_deref();
        if let Some(role) = role.filter(|role| !roles.iter().any(|known| known.name == *role)) {
            return Err(format!("the stage {} is on devices of `{role}`, which no [[role]] has", stage.name));
        }
        if stage.probes.is_empty() {
            return Err(format!("the stage {} has no probes", stage.name));
        }
    }
    models.iter().try_for_each(|model| check_model(model, |name| names.contains(name) || is_stage(name)))
}

/// Whether a model can be measured.
fn check_model(model: &Model, is_stage: impl Fn(&str) -> bool) -> Result<(), String> {
    let Model { name, stages, reply, join, .. } = model;
    let all: Vec<&String> = stages.iter().chain(reply).collect();
    if let Some(unknown) = all.iter().find(|stage| !is_stage(stage)) {
        return Err(format!("the model {name} names the stage `{unknown}`, which no [[stage]] has"));
    }
    match (join, reply.is_empty()) {
        (Some(_), true) => Err(format!("the model {name} joins a reply, but has none")),
        (None, false) => Err(format!("the model {name} has a reply, but does not say what joins it")),
        _ if all.len() < 2 => Err(format!("the model {name} has fewer than two stages")),
        _ => Ok(()),
    }
}

/// Whether limits are about models, and models' stages.
pub fn check_limits(limits: &[Limit], models: &[Model]) -> Result<(), String> {
    for limit in limits {
        let name = &limit.model;
        let model = models.iter().find(|model| model.name == *name);
        let model =
            model.ok_or_else(|| format!("a limit is about the model `{name}`, which no [[model]] has"))?;
        let has = |stage: &Option<String>| {
            stage.as_ref().is_none_or(|stage| model.stages.iter().chain(&model.reply).any(|s| s == stage))
        };
        if limit.from.is_some() != limit.to.is_some() || !has(&limit.from) || !has(&limit.to) {
            return Err(format!("a limit of the model {name} is about no two stages of it"));
        }
    }
    Ok(())
}

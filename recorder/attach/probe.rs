//! A probe of a capture, on this kernel.

use ntc::catalog;

use crate::bpf::types;
use crate::kernel::arguments::{self, Arguments};
use crate::kernel::backends::Backend;
use crate::kernel::btf::Btf;
use crate::kernel::functions::{Function, Functions};

/// What a probe is attached to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A tracepoint.
    Tracepoint(&'static catalog::Probe),
    /// A function.
    Function(Box<Function>),
    /// A function of the catalog that this kernel does not have.
    Absent(&'static catalog::Probe),
}

/// A probe of this capture.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its number on the wire.
    pub number: u16,
    /// What it is attached to.
    pub target: Target,
    /// Where its arguments are.
    pub arguments: Arguments,
    /// What the BPF programs must know of it.
    pub setup: types::setup,
    /// A tracepoint's backend; those of functions are tried when all of them are attached.
    pub backend: Option<Backend>,
    /// How it is attached, or why it cannot be; nothing as long as that is not known.
    pub outcome: Option<Result<String, String>>,
}

impl Probe {
    /// Its name in the column `probe`.
    pub fn name(&self) -> &str {
        match &self.target {
            Target::Tracepoint(entry) | Target::Absent(entry) => entry.name,
            Target::Function(function) => function.name(),
        }
    }

    /// The kind of its rows.
    pub fn kind(&self) -> &'static str {
        match &self.target {
            Target::Tracepoint(entry) | Target::Absent(entry) => entry.kind,
            Target::Function(function) => function.kind(),
        }
    }

    /// Whether it is a function of this kernel.
    pub fn function(&self) -> Option<&Function> {
        match &self.target {
            Target::Function(function) => Some(function),
            _ => None,
        }
    }

    /// Whether it is a tracepoint.
    pub fn is_tracepoint(&self) -> bool {
        matches!(self.target, Target::Tracepoint(_))
    }

    /// Whether it is still a candidate: nothing has failed so far.
    pub fn is_candidate(&self) -> bool {
        !matches!(self.outcome, Some(Err(_)))
    }

    /// How the metadata tells of it.
    pub fn describe(&self) -> ntc::Probe {
        let name = self.name().to_owned();
        match &self.outcome {
            Some(Err(why)) => {
                let absent = matches!(self.target, Target::Absent(_));
                ntc::Probe { name, error: Some(why.clone()), absent, ..ntc::Probe::default() }
            }
            outcome => ntc::Probe {
                name,
                backend: outcome.clone().and_then(Result::ok).unwrap_or_default(),
                arguments: arguments::describe(&self.arguments),
                returns: outcome.as_ref().map(|_| self.function().is_some_and(Function::returns)),
                ..ntc::Probe::default()
            },
        }
    }
}

impl Probe {
    /// A tracepoint on this kernel.
    pub fn of_tracepoint(number: u16, entry: &'static catalog::Probe, btf: &Btf) -> Self {
        let found = arguments::tracepoint(btf, entry);
        Self {
            number,
            target: Target::Tracepoint(entry),
            arguments: found.as_ref().copied().unwrap_or(arguments::NOTHING),
            setup: types::setup::default(),
            backend: None,
            outcome: found.err().map(|why| Err(format!("{why:#}"))),
        }
    }

    /// A function of the catalog on this kernel.
    pub fn of_entry(entry: &'static catalog::Probe, functions: &Functions) -> Self {
        match functions.find(entry) {
            Ok(function) => Self::of_function(function),
            Err(why) => Self {
                number: u16::MAX,
                target: Target::Absent(entry),
                arguments: arguments::NOTHING,
                setup: types::setup::default(),
                backend: None,
                outcome: Some(Err(why)),
            },
        }
    }

    /// A function of this kernel.
    pub fn of_function(function: Function) -> Self {
        let arguments = function.arguments;
        Self {
            number: u16::MAX,
            target: Target::Function(Box::new(function)),
            setup: types::setup::default(),
            arguments,
            backend: None,
            outcome: None,
        }
    }
}

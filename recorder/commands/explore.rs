//! What this node offers to a recording, found out by trying.

use std::rc::Rc;

use anyhow::Result;

use crate::args::{Profile, Subject};
use crate::attach::{Probe, Target, choose};
use crate::kernel::backends::{Backend, Offers};
use crate::kernel::btf::Btf;
use crate::kernel::functions::Functions;
use crate::node::privileges;

/// Why nothing of a kind can be recorded where no backend works.
const NO_BACKEND: &str = "no way to attach to it works here, see ntrec check";

/// A node; each reason is a sentence.
pub struct Node {
    /// Whether this process may record.
    pub privileges: Result<(), String>,
    /// The kernel's types.
    pub btf: Result<Rc<Btf>, String>,
    /// The kernel's functions.
    functions: Result<Functions, String>,
    /// Ways to attach; nothing where they could not be tried.
    pub offers: Option<Offers>,
}

impl Node {
    /// Finds out.
    pub fn explore() -> Self {
        libbpf_rs::set_print(None);
        let btf = Btf::kernel().map(Rc::new).map_err(sentence);
        let functions = btf.clone().and_then(|btf| Functions::new(btf).map_err(sentence));
        let privileges = privileges::check().map_err(sentence);
        let offers = privileges.is_ok().then(|| Offers::find(btf.as_deref().ok(), true));
        Self { privileges, btf, functions, offers }
    }

    /// The probes that words stand for; all of them without any.
    pub fn probes(&self, words: &[String]) -> Result<Vec<Probe>> {
        let subject = Subject {
            profile: None,
            probe: words.to_vec(),
            no_probe: Vec::new(),
            hooks: false,
            nft_trace: false,
            backend: Vec::new(),
            btf: None,
            stack: Vec::new(),
        };
        let btf = self.btf.as_ref().map_err(|why| anyhow::Error::msg(why.clone()))?;
        let functions = self.functions.as_ref().map_err(|why| anyhow::Error::msg(why.clone()))?;
        choose::choose(&subject, Profile::All, btf, Some(functions))
    }

    /// The backend by which functions would be probed.
    pub fn backend(&self) -> Option<Backend> {
        self.best(&Backend::OF_FUNCTIONS)
    }

    /// The best of some backends.
    fn best(&self, of: &[Backend]) -> Option<Backend> {
        self.offers.as_ref()?.usable(of, &[]).first().copied()
    }

    /// How a probe would be attached, or why it cannot be; nothing where that could not be tried.
    pub fn outcome(&self, probe: &Probe) -> Option<Result<String, String>> {
        if let Some(Err(why)) = &probe.outcome {
            return Some(Err(why.clone()));
        }
        self.offers.as_ref()?;
        let backends: &[Backend] = match probe.target {
            Target::Tracepoint(_) => &Backend::OF_TRACEPOINTS,
            _ => &Backend::OF_FUNCTIONS,
        };
        Some(self.best(backends).map(|backend| backend.to_string()).ok_or_else(|| NO_BACKEND.to_owned()))
    }
}

/// An error as a sentence.
fn sentence(error: anyhow::Error) -> String {
    format!("{error:#}")
}

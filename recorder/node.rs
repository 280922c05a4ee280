//! What this node offers to a recording, found out by trying.

use std::rc::Rc;

use anyhow::Result;

use crate::args::{Profile, Subject};
use crate::backends::{self, Backend, Offers};
use crate::btf::Btf;
use crate::functions::Functions;
use crate::plan::{self, Probe, Target};
use crate::privileges;

/// How tracepoints are attached to.
pub const TRACEPOINTS: &str = "tp_btf";

/// Why no function can be recorded where no backend works.
const NO_BACKEND: &str = "no way to probe functions works here, see ntrec check";

/// A node; each reason is a sentence.
pub struct Node {
    /// Whether this process may record.
    pub privileges: Result<(), String>,
    /// The kernel's types.
    pub btf: Result<Rc<Btf>, String>,
    /// The kernel's functions.
    functions: Result<Functions, String>,
    /// Ways to probe functions; nothing where they could not be tried.
    pub offers: Option<Offers>,
    /// Whether tracepoints can be attached to; nothing where that could not be tried.
    pub tracepoints: Option<Result<(), String>>,
}

impl Node {
    /// Finds out.
    pub fn explore() -> Self {
        libbpf_rs::set_print(None);
        let btf = Btf::kernel().map(Rc::new).map_err(sentence);
        let functions = btf.clone().and_then(|btf| Functions::new(btf).map_err(sentence));
        let privileges = privileges::check().map_err(sentence);
        let tried = privileges.is_ok().then(|| btf.clone().ok()).flatten();
        let offers = tried.as_ref().map(|b| Offers::find(b.prototype("bpf_fentry_test1").map(|p| p.id)));
        let tracepoints = tried
            .map(|b| backends::try_tracepoint(b.tracepoint("kfree_skb").map(|p| p.id)).map_err(sentence));
        Self { privileges, btf, functions, offers, tracepoints }
    }

    /// The probes that words stand for; all of them without any.
    pub fn probes(&self, words: &[String]) -> Result<Vec<Probe>> {
        let subject = Subject {
            profile: None,
            probe: words.to_vec(),
            no_probe: Vec::new(),
            hooks: false,
            nft_trace: false,
            backend: None,
            btf: None,
            stack: Vec::new(),
        };
        let btf = self.btf.as_ref().map_err(|why| anyhow::Error::msg(why.clone()))?;
        let functions = self.functions.as_ref().map_err(|why| anyhow::Error::msg(why.clone()))?;
        plan::choose(&subject, Profile::All, btf, Some(functions))
    }

    /// The way by which functions would be probed.
    pub fn backend(&self) -> Option<Backend> {
        self.offers.as_ref()?.usable(None).first().copied()
    }

    /// How a probe would be attached, or why it cannot be; nothing where that could not be tried.
    pub fn outcome(&self, probe: &Probe) -> Option<Result<String, String>> {
        if let Some(Err(why)) = &probe.outcome {
            return Some(Err(why.clone()));
        }
        let tracepoints = self.tracepoints.clone()?;
        Some(match probe.target {
            Target::Tracepoint(_) => tracepoints.map(|()| TRACEPOINTS.to_owned()),
            _ => self.backend().map(|backend| backend.to_string()).ok_or_else(|| NO_BACKEND.to_owned()),
        })
    }
}

/// An error as a sentence.
fn sentence(error: anyhow::Error) -> String {
    format!("{error:#}")
}

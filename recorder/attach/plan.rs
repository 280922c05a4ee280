//! What is to be recorded, and by which means, before anything is loaded.

use std::rc::Rc;

use anyhow::Result;

use super::probe::Probe;
use super::{choose, pcap, setup};
use crate::args::{Capture, Profile};
use crate::bpf::PROBES;
use crate::kernel::backends::{Backend, Offers};
use crate::kernel::btf::Btf;
use crate::kernel::functions::{Function, Functions};
use crate::node::privileges;

/// What is to be recorded, and by which means.
pub struct Plan {
    /// The probes.
    pub probes: Vec<Probe>,
    /// Backends for functions, the best first.
    pub of_functions: Vec<Backend>,
    /// Backends for tracepoints, the best first.
    pub of_tracepoints: Vec<Backend>,
    /// What the kernel offers.
    pub offers: Offers,
    /// Why no functions are recorded, where they would be by default.
    pub without_functions: Option<String>,
    /// The filter expression.
    pub expression: pcap::Compiled,
    /// Tracepoints that are no probes, but tell with a filter which packet a socket's event belongs to.
    pub helpers: &'static [&'static str],
}

impl Plan {
    /// Checks what the user asks for, and finds it on this kernel.
    pub fn make(args: &Capture, btf: &Rc<Btf>) -> Result<Self> {
        let expression = args.filter.compiled()?;
        privileges::check()?;
        let subject = &args.subject;
        let own = if subject.btf.is_none() { Some(btf.clone()) } else { Btf::kernel().ok().map(Rc::new) };
        let offers = Offers::find(own.as_deref(), subject.btf.is_none());
        let of_tracepoints = offers.usable(&Backend::OF_TRACEPOINTS, &subject.backend);
        let of_functions = offers.usable(&Backend::OF_FUNCTIONS, &subject.backend);
        let functions = (!of_functions.is_empty()).then(|| Functions::new(btf.clone())).transpose()?;
        let wanted = subject.profile.unwrap_or(Profile::Life);
        let without_functions =
            functions.is_none().then(|| offers.why_not(&Backend::OF_FUNCTIONS, &subject.backend));
        let mut probes = choose::choose(subject, wanted, btf, functions.as_ref())?;
        for probe in probes.iter_mut().filter(|p| p.is_tracepoint()) {
            probe.backend = of_tracepoints.first().copied();
            if probe.backend.is_none() {
                let why_not = offers.why_not(&Backend::OF_TRACEPOINTS, &subject.backend);
                probe.outcome.get_or_insert(Err(why_not));
            }
        }
        choose::check_demanded(subject, &probes)?;
        setup::make(subject, &args.filter, &mut probes)?;
        let without_functions = without_functions.filter(|_| choose::asks_functions(subject, wanted));
        let helpers = if args.filter.is_active() { ends_of_delivery(btf) } else { &[] };
        Ok(Self { probes, of_functions, of_tracepoints, offers, without_functions, expression, helpers })
    }

    /// Functions that are still candidates.
    pub fn functions(&self) -> impl Iterator<Item = (&Probe, &Function)> {
        self.probes.iter().filter(|p| p.is_candidate()).filter_map(|p| Some((p, p.function()?)))
    }

    /// The first reason why a probe cannot be recorded.
    pub fn first_error(&self) -> String {
        let errors = self.probes.iter().filter_map(|p| p.outcome.as_ref()?.as_ref().err());
        errors.cloned().chain(self.without_functions.clone()).next().unwrap_or_default()
    }

    /// Names of probes by their numbers.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![String::new(); PROBES];
        for probe in &self.probes {
            if let Some(place) = names.get_mut(usize::from(probe.number)) {
                probe.name().clone_into(place);
            }
        }
        names
    }
}

/// The tracepoints that end what a CPU does for a received packet. The end of each softirq is the surest, but with one
/// packet in each it costs as much as a probe; timers and tasklets are rarer.
fn ends_of_delivery(btf: &Btf) -> &'static [&'static str] {
    if btf.tracepoint("tasklet_entry").is_some() {
        &["timer_expire_entry", "tasklet_entry", "workqueue_execute_start"]
    } else {
        &["softirq_exit"]
    }
}

//! Which of netfilter's hook functions gave a verdict, where that can be known.

use ntc::catalog;

use crate::event::Event;
use crate::symbol::Sym;

/// What a function of netfilter said last about a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its call, see [`Event::call`].
    call: u64,
    /// The function.
    probe: Sym,
    /// Its verdict.
    verdict: Sym,
}

impl Said {
    /// What the return of a function says.
    pub fn by(event: &Event) -> Self {
        Self { call: event.other, probe: event.probe, verdict: event.says }
    }

    /// Whether it was called within another call: later, on the same CPU, and it has returned before.
    fn is_within(&self, outer: u64) -> bool {
        self.call >> 48 == outer >> 48 && self.call > outer
    }
}

/// The function that gave the verdict of a place of the stack, whose return lists the functions there. They are called
/// one after the other until one does not accept: so it is the last that returned before, or the only one.
pub(super) fn giver(event: &Event, last: &Said) -> Sym {
    let mut hooks = event.nf_hooks.text().split(';');
    if event.says == Sym::NF_ACCEPT || event.nf_hooks.is_none() {
        return Sym::NONE;
    }
    if let (Some(only), None) = (hooks.next(), hooks.next()) {
        return Sym::new(only);
    }
    let listed = event.nf_hooks.text().split(';').any(|hook| is_probe(hook, last.probe.text()));
    let gave = listed && last.is_within(event.other) && last.verdict != Sym::NF_ACCEPT;
    if gave { last.probe } else { Sym::NONE }
}

/// Whether a function of the kernel is recorded under a name; compilers append to the kernel's names.
fn is_probe(function: &str, probe: &str) -> bool {
    let base = function.split('.').next().unwrap_or(function);
    base == probe || catalog::by_name(probe).is_some_and(|entry| entry.symbols.contains(&base))
}

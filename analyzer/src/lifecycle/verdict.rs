//! Which hook function of netfilter gave a verdict, where that can be known.

use ntc::{ColumnId, catalog};

use crate::event::Event;
use crate::names::Name;

/// A verdict that a function of netfilter gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given<'a> {
    /// Its call, see [`Event::call`].
    call: u64,
    /// The function.
    probe: Name<'a>,
    /// The verdict.
    verdict: Name<'a>,
}

impl<'a> Given<'a> {
    /// What the return of a function says.
    pub(super) fn by(event: &Event<'_, 'a>) -> Self {
        Self { call: entry(event), probe: event.probe(), verdict: event.name(ColumnId::Verdict) }
    }

    /// Whether it was called within another call: later, on the same CPU, and it has returned before.
    fn is_within(&self, outer: u64) -> bool {
        self.call >> 48 == outer >> 48 && self.call > outer
    }
}

/// The netfilter hook function that returned the verdict at this hook point, whose return lists the functions there.
/// They are called one after the other until one does not accept: so it is the last that returned before, or the only
/// one.
pub(super) fn verdict_hook<'a>(event: &Event<'_, 'a>, last: &Given<'a>) -> Option<&'a str> {
    let listed = event.name(ColumnId::Hooks);
    if event.name(ColumnId::Verdict) == "NF_ACCEPT" || listed.is_none() {
        return None;
    }
    let mut hooks = listed.text().split(';');
    if let (Some(only), None) = (hooks.next(), hooks.next()) {
        return Some(only);
    }
    let is_listed = listed.text().split(';').any(|hook| is_probe(hook, last.probe.text()));
    let gave = is_listed && last.is_within(entry(event)) && last.verdict != "NF_ACCEPT";
    gave.then(|| last.probe.text())
}

/// The call that a return names.
fn entry(event: &Event<'_, '_>) -> u64 {
    event.u64(ColumnId::Entry).unwrap_or(0)
}

/// Whether a function of the kernel is recorded under a name; compilers append to the kernel's names.
fn is_probe(function: &str, probe: &str) -> bool {
    let base = function.split('.').next().unwrap_or(function);
    base == probe || catalog::by_name(probe).is_some_and(|entry| entry.symbols.contains(&base))
}

//! The rule of netfilter that decided, as a key that findings count by.

use std::borrow::Cow;

use crate::answer;
use crate::event::Event;
use crate::symbol::Sym;

/// What an event says of where a verdict came from, see [`answer::Rule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// Family of the table, or of the packet where no table is known.
    family: Sym,
    /// Table.
    table: Sym,
    /// Chain.
    chain: Sym,
    /// Handle of the rule, where it was traced.
    handle: Option<u64>,
    /// What was traced.
    step: Sym,
    /// Hook point of netfilter.
    hook: Sym,
    /// The hook function that gave the verdict.
    function: Sym,
    /// All hook functions of that hook point.
    functions: Sym,
}

impl Rule {
    /// What an event says.
    pub fn of(event: &Event) -> Self {
        Self {
            family: event.family,
            table: event.nf_table,
            chain: event.nf_chain,
            handle: Some(event.nf_handle).filter(|handle| *handle != 0),
            step: event.nf_step,
            hook: event.nf_hook,
            function: event.nf_by,
            functions: event.nf_hooks,
        }
    }

    /// The same as plain data.
    pub fn plain(&self) -> answer::Rule<'static> {
        let text = |name: Sym| Some(Cow::Borrowed(name.text())).filter(|text| !text.is_empty());
        answer::Rule {
            family: text(self.family),
            table: text(self.table),
            chain: text(self.chain),
            handle: self.handle,
            step: text(self.step),
            hook: text(self.hook),
            verdict_hook: text(self.function),
            hooks: text(self.functions),
        }
    }
}

//! The rule of netfilter that decided, as a key that findings count by.

use std::borrow::Cow;

use ntc::ColumnId;

use crate::answer;
use crate::event::Event;
use crate::names::Name;

/// What an event says of where a verdict came from, see [`answer::Rule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule<'a> {
    /// Family of the table, or of the packet where no table is known.
    family: Name<'a>,
    /// Table.
    pub(crate) table: Name<'a>,
    /// Chain.
    chain: Name<'a>,
    /// Handle of the rule, where it was traced.
    handle: Option<u64>,
    /// What was traced.
    pub(crate) step: Name<'a>,
    /// Hook point of netfilter.
    hook: Name<'a>,
    /// The hook function that gave the verdict.
    pub(crate) function: Name<'a>,
    /// All hook functions of that hook point.
    pub(crate) functions: Name<'a>,
}

impl<'a> Rule<'a> {
    /// What an event says, of which a hook function gave the verdict.
    pub fn of(event: &Event<'_, 'a>, function: Name<'a>) -> Self {
        Self {
            family: event.name(ColumnId::Family),
            table: event.name(ColumnId::Table),
            chain: event.name(ColumnId::Chain),
            handle: event.u64(ColumnId::Handle),
            step: event.name(ColumnId::Step),
            hook: event.name(ColumnId::Hook),
            function,
            functions: event.name(ColumnId::Hooks),
        }
    }

    /// The same as plain data.
    pub fn plain(&self) -> answer::Rule<'static> {
        let text = |name: Name<'_>| name.is_some().then(|| Cow::Owned(name.text().to_owned()));
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

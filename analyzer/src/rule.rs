//! The rule of netfilter that decided, as a key that findings count by.

use ntc::ColumnId;

use crate::event::Event;
use crate::names::Name;

/// What an event says of where a verdict came from, see [`crate::answer::Rule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule<'a> {
    /// Family of the table, or of the packet where no table is known.
    pub(crate) family: Name<'a>,
    /// Table.
    pub(crate) table: Name<'a>,
    /// Chain.
    pub(crate) chain: Name<'a>,
    /// Handle of the rule, where it was traced.
    pub(crate) handle: Option<u64>,
    /// What was traced.
    pub(crate) step: Name<'a>,
    /// Hook point of netfilter.
    pub(crate) hook: Name<'a>,
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
}

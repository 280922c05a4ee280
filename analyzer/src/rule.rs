//! Where netfilter decided: place of the stack, table, chain, rule, hook function.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::event::Event;
use crate::symbol::Sym;

/// What is known of where a verdict came from. As text: `inet filter refused handle 7 at FORWARD`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Rule {
    /// Family of the table, or of the packet where no table is known.
    #[serde(skip_serializing_if = "no_text")]
    pub family: Sym,
    /// Table.
    #[serde(skip_serializing_if = "no_text")]
    pub table: Sym,
    /// Chain.
    #[serde(skip_serializing_if = "no_text")]
    pub chain: Sym,
    /// Handle of the rule, where it was traced: `nft -a list table` shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<u64>,
    /// What was traced: rule, return (from the chain) or policy (of the chain).
    #[serde(skip_serializing_if = "no_text")]
    pub step: Sym,
    /// Place of the stack.
    #[serde(skip_serializing_if = "no_text")]
    pub hook: Sym,
    /// The hook function that gave the verdict.
    #[serde(skip_serializing_if = "no_text")]
    pub function: Sym,
    /// All hook functions of that place, `a;b`.
    #[serde(skip_serializing_if = "no_text")]
    pub functions: Sym,
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

    /// Which hook function dropped, or which ones may have: `, by b`.
    pub fn blame(&self) -> String {
        match (self.function, self.functions) {
            (Sym::NONE, Sym::NONE) => String::new(),
            (Sym::NONE, several) => format!(", by one of {} (which one is not known)", listed(several)),
            (known, _) => format!(", by {known}"),
        }
    }

    /// Which hook functions gave a verdict, among all of them: ` by b, one of a, b, c`.
    pub fn givers(&self, verdict: Sym) -> String {
        let all = listed(self.functions);
        match (verdict, self.function) {
            _ if all.is_empty() => String::new(),
            _ if !all.contains(',') => format!(" by {all}"),
            (Sym::NF_ACCEPT, _) => format!(" by all of {all}"),
            (_, Sym::NONE) => format!(" by one of {all}"),
            (_, known) => format!(" by {known}, one of {all}"),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let named = [self.family, self.table, self.chain].into_iter().filter(|part| part.is_some());
        named.into_iter().try_for_each(|part| write!(f, "{part} "))?;
        match (self.handle, self.step.text()) {
            (Some(handle), _) => write!(f, "handle {handle} ")?,
            (None, "policy") => f.write_str("policy ")?,
            (None, "return") => f.write_str("end ")?,
            _ => {}
        }
        write!(f, "at {}", self.hook.or_dash())
    }
}

/// Names as people list them.
fn listed(names: Sym) -> String {
    names.text().replace(';', ", ")
}

/// Whether there is no text (serde).
fn no_text(value: &Sym) -> bool {
    value.is_none()
}

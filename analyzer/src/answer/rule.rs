//! Where netfilter decided: place of the stack, table, chain, rule, hook function.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::Row;
use crate::names::Name;
use crate::rule;

/// A text that may not be known.
type Text<'a> = Option<Cow<'a, str>>;

/// What is known of where a verdict came from. As text: `inet filter refused handle 7 at FORWARD`. Names are those of
/// the columns of kind `nf`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rule<'a> {
    /// Family of the table, or of the packet where no table is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Text<'a>,
    /// Table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Text<'a>,
    /// Chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Text<'a>,
    /// Handle of the rule, where it was traced: `nft -a list table` shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<u64>,
    /// What was traced: rule, return (from the chain) or policy (of the chain).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Text<'a>,
    /// Hook point of netfilter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook: Text<'a>,
    /// The hook function that gave the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict_hook: Text<'a>,
    /// All hook functions of that hook point, `a;b`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Text<'a>,
}

impl From<&rule::Rule<'_>> for Rule<'static> {
    fn from(rule: &rule::Rule<'_>) -> Self {
        let text = |name: Name<'_>| name.is_some().then(|| Cow::Owned(name.text().to_owned()));
        Self {
            family: text(rule.family),
            table: text(rule.table),
            chain: text(rule.chain),
            handle: rule.handle,
            step: text(rule.step),
            hook: text(rule.hook),
            verdict_hook: text(rule.function),
            hooks: text(rule.functions),
        }
    }
}

impl<'a> Rule<'a> {
    /// What a row of kind `nf` says.
    pub fn of(row: &'a Row<'_>, verdict_hook: Option<&'a str>) -> Self {
        let text = |column| row.text(column).map(Cow::Borrowed);
        Self {
            family: text("family"),
            table: text("table"),
            chain: text("chain"),
            handle: row.number("handle"),
            step: text("step"),
            hook: text("hook"),
            verdict_hook: verdict_hook.map(Cow::Borrowed),
            hooks: text("hooks"),
        }
    }

    /// Which hook function dropped, or which ones may have: `, by b`.
    pub fn blame(&self) -> String {
        match (&self.verdict_hook, &self.hooks) {
            (None, None) => String::new(),
            (None, Some(several)) => format!(", by one of {} (which one is not known)", listed(several)),
            (Some(known), _) => format!(", by {known}"),
        }
    }

    /// Which hook functions gave a verdict, among all of them: ` by b, one of a, b, c`.
    pub fn verdict_hooks(&self, verdict: &str) -> String {
        let all = self.hooks.as_deref().map(listed).unwrap_or_default();
        match (verdict, &self.verdict_hook) {
            _ if all.is_empty() => String::new(),
            _ if !all.contains(',') => format!(" by {all}"),
            ("NF_ACCEPT", _) => format!(" by all of {all}"),
            (_, None) => format!(" by one of {all}"),
            (_, Some(known)) => format!(" by {known}, one of {all}"),
        }
    }
}

impl Display for Rule<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for part in [&self.family, &self.table, &self.chain].into_iter().flatten() {
            write!(f, "{part} ")?;
        }
        match (self.handle, self.step.as_deref()) {
            (Some(handle), _) => write!(f, "handle {handle} ")?,
            (None, Some("policy")) => f.write_str("policy ")?,
            (None, Some("return")) => f.write_str("end ")?,
            _ => {}
        }
        write!(f, "at {}", self.hook.as_deref().unwrap_or("-"))
    }
}

/// Names as people list them.
fn listed(names: &str) -> String {
    names.replace(';', ", ")
}

//! The catalog as Rust tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::entries::{Catalog, Level, NetworkHeader, Probe, Profile, Returns, Stage, When, when};

/// The text of the tables that `src/catalog.rs` includes.
pub fn of(catalog: &Catalog) -> String {
    let mut text = String::new();
    table(&mut text, "Stage", "STAGES", catalog.stage.iter().enumerate().map(|(order, s)| stage(order, s)));
    table(
        &mut text,
        "Group",
        "GROUPS",
        catalog.group.iter().map(|g| format!("Group {{ name: {:?}, what: {:?} }}", g.name, g.what)),
    );
    table(&mut text, "Returns", "RETURNS", catalog.returns.iter().map(returns));
    table(&mut text, "Probe", "PROBES", catalog.probe.iter().map(|p| probe(catalog, p)));
    by_name(&mut text, catalog);
    text
}

/// Appends the positions of the probes, ordered by name.
fn by_name(text: &mut String, catalog: &Catalog) {
    let probes = catalog.probe.iter().enumerate();
    let names = probes.flat_map(|(at, p)| p.also.iter().chain([&p.name]).map(move |name| (name, at)));
    let sorted: BTreeMap<&String, usize> = names.collect();
    let docs = "/// Every name of a probe, in order, with the probe's position.";
    let _ = writeln!(text, "{docs}\nstatic BY_NAME: [(&str, usize); {}] = [", sorted.len());
    for (name, at) in sorted {
        let _ = writeln!(text, "    ({name:?}, {at}),");
    }
    text.push_str("];\n");
}

/// A row of stages.
fn stage(order: usize, s: &Stage) -> String {
    let at_data = matches!(s.network_header, Some(NetworkHeader::Data));
    format!(
        "Stage {{ order: {order}, name: {:?}, what: {:?}, direction: Direction::{:?}, at_network_header: {at_data} }}",
        s.name, s.what, s.direction
    )
}

/// Appends a table.
fn table(text: &mut String, kind: &str, name: &str, rows: impl ExactSizeIterator<Item = String>) {
    let docs = format!("/// Every [`{kind}`] of `catalog.toml`, in its order.");
    let _ = writeln!(text, "{docs}\nstatic {name}: [{kind}; {}] = [", rows.len());
    for row in rows {
        let _ = writeln!(text, "    {row},");
    }
    text.push_str("];\n");
}

/// A row of meanings.
fn returns(r: &Returns) -> String {
    let values: Vec<String> = r
        .value
        .iter()
        .filter_map(|v| {
            let when = when(&v.when).map(condition)?;
            Some(meaning(&when, &v.name, v.level, (&v.means, &v.advice)))
        })
        .collect();
    format!(
        "Returns {{ name: {:?}, kind: Type::{:?}, mask: {}, values: &[{}] }}",
        r.name,
        r.kind,
        r.mask.map_or(-1, i64::from),
        values.join(", ")
    )
}

/// A condition.
fn condition(when: When) -> String {
    match when {
        When::Is(value) => format!("When::Is({value})"),
        When::Not(value) => format!("When::Not({value})"),
        When::Below(value) => format!("When::Below({value})"),
        When::Above(value) => format!("When::Above({value})"),
        When::Errno => "When::Errno".into(),
    }
}

/// A meaning; `texts` are what it means and what to do.
fn meaning(when: &str, name: &str, level: Level, texts: (&str, &str)) -> String {
    let (means, advice) = texts;
    format!(
        "Meaning {{ when: {when}, name: {name:?}, level: Level::{level:?}, means: {means:?}, advice: {advice:?} }}"
    )
}

/// A row of probes.
fn probe(catalog: &Catalog, p: &Probe) -> String {
    let at = |table: &str, position: Option<usize>| match position {
        Some(position) => format!("Some(&{table}[{position}])"),
        None => "None".into(),
    };
    let listed = |kind: &str, items: Vec<String>| {
        let items: Vec<String> = items.iter().map(|i| format!("{kind}::{i}")).collect();
        format!("&[{}]", items.join(", "))
    };
    let fields = [
        format!("name: {:?}", p.name),
        format!("also: &{:?}", p.also),
        format!("group: &GROUPS[{}]", catalog.group_of(&p.group).unwrap_or_default()),
        format!("stage: {}", at("STAGES", p.stage.as_ref().and_then(|s| catalog.stage_of(s)))),
        format!("gate: {}", gate(catalog, p)),
        format!("kind: {:?}", p.kind),
        format!("effect: Effect::{:?}", p.effect()),
        format!("two_way: {}", p.is_two_way()),
        format!("tracepoint: {:?}", p.tracepoint),
        format!("stack: {}", p.stack),
        format!("symbols: &{:?}", p.functions()),
        format!("takes: {}", listed("Take", p.takes.iter().map(|t| format!("{t:?}")).collect())),
        format!("what: {:?}", p.what),
        format!("returns: {}", at("RETURNS", p.returns.as_ref().and_then(|r| catalog.returns_of(r)))),
        format!("called: {}", called(p)),
        format!("link: {}", link(p)),
        format!("extra: {}", listed("Extra", p.extra.iter().map(|e| format!("{e:?}")).collect())),
        format!("profile: Profile::{:?}", profile(catalog, p)),
        format!("since: {:?}", p.since),
    ];
    format!("Probe {{ {} }}", fields.join(", "))
}

/// The gate of a probe.
fn gate(catalog: &Catalog, p: &Probe) -> String {
    match catalog.gate_of(&p.name) {
        Some((order, gate)) => format!("Some(Gate {{ order: {order}, data: Data::{:?} }})", gate.data),
        None => "None".into(),
    }
}

/// The smallest profile that a probe is part of: its own word, or its group's.
fn profile(catalog: &Catalog, p: &Probe) -> Profile {
    let group = || catalog.group.iter().find(|g| g.name == p.group).map(|g| g.profile);
    p.profile.or_else(group).unwrap_or(Profile::All)
}

/// What the call of a probe means.
fn called(p: &Probe) -> String {
    match &p.called {
        Some(c) => format!("Some({})", meaning("When::Always", "", c.level, (&c.means, &c.advice))),
        None => "None".into(),
    }
}

/// The other packet of a probe.
fn link(p: &Probe) -> String {
    let (Some(relation), Some(child)) = (p.link, &p.child) else { return "None".into() };
    let child = match child.as_str() {
        "return" => "Child::Return".to_owned(),
        "list" => "Child::List".to_owned(),
        "frag_list" => "Child::FragList".to_owned(),
        "itself" => "Child::Itself".to_owned(),
        argument => format!("Child::Argument({argument:?})"),
    };
    format!("Some(Link {{ relation: Relation::{relation:?}, parent: {:?}, child: {child} }})", p.parent)
}

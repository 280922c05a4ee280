//! What holds of times, whatever packets did.

use std::collections::BTreeMap;

use ntc::{Metadata, Options, Writer};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::args::{FilterArgs, TimeStyle};
use crate::knowledge::tests::shipped;
use crate::lifecycle::moves;
use crate::loss::Losses;
use crate::probes::Probes;
use crate::script::Script;

/// Probes in the order of a way.
const WAY: [&str; 8] = [
    "netif_rx",
    "netif_receive_skb",
    "ip_rcv",
    "ip_output",
    "net_dev_queue",
    "net_dev_start_xmit",
    "udp_rcv",
    "skb_consume_udp",
];

/// What tries cases, and keeps those that failed.
fn runner() -> TestRunner {
    TestRunner::new(ProptestConfig::with_source_file(file!()))
}

/// A capture without events.
fn empty() -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ntc");
    Writer::create(&path, Metadata::default(), Options::default(), false).unwrap().finish().unwrap();
    let source = Source::open(&path, TimeStyle::Mono, &FilterArgs::default()).unwrap();
    (folder, source)
}

/// Events of some packets, on some devices, in their order: those of a packet at times more than one way.
fn any_script() -> impl Strategy<Value = String> {
    let probes = WAY.into_iter().chain(["kfree_skb", "consume_skb"]).collect::<Vec<_>>();
    let event = (prop::sample::select(probes), 1..4_u8, 0..3_u8, 0..50_u64);
    prop::collection::vec(event, 1..120).prop_map(|events| {
        let mut ts = 0;
        let line = |(probe, skb, dev, after): (&str, u8, u8, u64)| {
            ts += after;
            format!("{ts} {skb} {probe} eth{dev} reason=NO_SOCKET id={skb} flow=10.0.0.1:{skb}>10.0.0.2:9\n")
        };
        events.into_iter().map(line).collect()
    })
}

/// Some of the stages of [`WAY`], two at least.
fn any_stages() -> impl Strategy<Value = Vec<String>> {
    let stages = WAY.map(str::to_owned).to_vec();
    prop::sample::subsequence(stages, 2..=WAY.len())
}

/// The lives of a script of which a model asks.
fn lives<'k>(model: &mut Model, script: &str, knowledge: &'k Knowledge, losses: &'k Losses) -> Vec<Life<'k>> {
    let mut probes = Probes::default();
    model.ask(&mut probes);
    let script = Script::asking(script, &probes);
    let mut all = Vec::new();
    let mut lives = Lives::new(script.names, knowledge, losses, Keep::Sightings);
    script.events().for_each(|event| lives.push(&event, &mut |life| all.push(life.clone())));
    lives.finish(&mut |life| all.push(life.clone()));
    all
}

/// What is asked of one model: all of its times, and all of its passes.
fn about(model: Model) -> Question {
    Question { models: vec![model], by: None, interval: None, least: 0, worst: usize::MAX, events: false }
}

/// The passes of a life through a model of single probes that is `entire`: from each time that the packet is at the first
/// stage, those where it is further than it was before; until it is there again, or moves back, or is at the last stage.
fn expected(model: &Model, life: &Life<'_>) -> Vec<Vec<(u8, u64)>> {
    let at: Vec<_> = life
        .sightings
        .iter()
        .filter_map(|seen| Some((model.stage_of(seen, model.sent, None)?, seen.ts, moves(seen.effect))))
        .collect();
    let begins = (0..at.len()).filter(|begin| at[*begin].0 == model.sent.first);
    let pass = |begin: usize| {
        let furthest = |end: usize| at[begin..end].iter().map(|step| step.0).max().unwrap();
        let ends = |end: &usize| {
            let (stage, _, moves) = at[*end];
            stage == model.sent.first || moves && stage <= furthest(*end) || furthest(*end) == model.sent.last
        };
        let end = (begin + 1..at.len()).find(ends).unwrap_or(at.len());
        let steps = (begin..end).filter(|step| *step == begin || at[*step].0 > furthest(*step));
        steps.map(|step| (at[step].0, at[step].1)).collect()
    };
    begins.map(pass).collect()
}

/// How many legs there are between two stages, and how long they are together.
type Sums = BTreeMap<(u8, u8), (u64, u128)>;

/// Compares the times of a script with those that are expected.
fn check(source: &Source, knowledge: &Knowledge, stages: Vec<String>, script: &str) -> TestCaseResult {
    let row = crate::knowledge::Model { entire: true, ..crate::knowledge::Model::of_stages(stages) };
    let mut model = Model::of(&row, knowledge, &Metadata::default()).unwrap();
    let losses = Losses::default();
    let lives = lives(&mut model, script, knowledge, &losses);
    let passes: Vec<_> = lives.iter().flat_map(|life| expected(&model, life)).collect();
    let mut sums = Sums::new();
    for pair in passes.iter().flat_map(|pass| pass.windows(2)) {
        let sum = sums.entry((pair[0].0, pair[1].0)).or_default();
        *sum = (sum.0 + 1, sum.1 + u128::from(pair[1].1.checked_sub(pair[0].1).unwrap()));
    }
    let last = model.sent.last;
    let question = about(model);
    let mut fold = Fold::new(source, knowledge, &question);
    lives.iter().for_each(|life| fold.life(life));
    let found = fold.finish();
    let between = found.legs.iter().filter_map(|(group, times)| match group.leg {
        Leg::Between(from, to) => Some(((from, to), (times.all.count, times.all.sum))),
        Leg::Whole => None,
    });
    let between: Sums = between.collect();
    let whole: u128 = found.worst.iter().map(|slow| u128::from(slow.ns)).sum();
    prop_assert_eq!(between.values().map(|(_, sum)| sum).sum::<u128>(), whole, "legs add up to the whole");
    let unfinished: u64 = found.counted[0].ends.iter().map(Ends::all).sum();
    let complete = passes.iter().filter(|pass| pass.last().is_some_and(|step| step.0 == last)).count() as u64;
    prop_assert_eq!(complete + unfinished, passes.len() as u64, "what began ended somewhere");
    prop_assert_eq!(between, sums);
    Ok(())
}

#[test]
fn legs_are_what_lies_between_the_stages_that_a_packet_is_seen_at() {
    let ((_folder, source), knowledge) = (empty(), shipped());
    let cases = TestRunner::default()
        .run(&(any_stages(), any_script()), |(stages, script)| check(&source, &knowledge, stages, &script));
    cases.unwrap();
}

/// Each pass of a shipped model is counted once, and its legs add up to it.
fn balance(
    source: &Source,
    knowledge: &Knowledge,
    row: &crate::knowledge::Model,
    script: &str,
) -> TestCaseResult {
    let mut model = Model::of(row, knowledge, &Metadata::default()).unwrap();
    let losses = Losses::default();
    let lives = lives(&mut model, script, knowledge, &losses);
    let question = about(model);
    let model = &question.models[0];
    let (mut passes, mut complete) = (0, 0);
    for life in &lives {
        Walk::of(model).passes(life.sightings.iter(), &mut Vec::new(), |steps, stopped| {
            assert!(
                steps
                    .windows(2)
                    .all(|pair| pair[0].stage < pair[1].stage && pair[0].seen.ts <= pair[1].seen.ts)
            );
            passes += 1;
            complete += u64::from(stopped == Stopped::Complete && steps.len() > 1);
        });
    }
    let mut fold = Fold::new(source, knowledge, &question);
    lives.iter().for_each(|life| fold.life(life));
    let found = fold.finish();
    let counted = &found.counted[0];
    let unfinished: u64 = counted.ends.iter().map(Ends::all).sum();
    prop_assert_eq!(complete + unfinished + counted.unbegun, passes, "{}", &model.name);
    let between = found.legs.iter().filter(|(group, _)| group.leg != Leg::Whole);
    let whole: u128 = found.worst.iter().map(|slow| u128::from(slow.ns)).sum();
    prop_assert_eq!(between.map(|(_, times)| times.all.sum).sum::<u128>(), whole, "{}", &model.name);
    Ok(())
}

#[test]
fn each_pass_of_a_shipped_model_is_counted_once() {
    let ((_folder, source), knowledge) = (empty(), shipped());
    let is_single = |row: &&crate::knowledge::Model| row.join.is_none() && row.within != Within::Device;
    let rows: Vec<_> = knowledge.models().iter().filter(is_single).cloned().collect();
    let cases = runner().run(&(prop::sample::select(rows), any_script()), |(row, script)| {
        balance(&source, &knowledge, &row, &script)
    });
    cases.unwrap();
}

//! `ntana latency`: where the time goes.

mod answer;
mod lines;
mod text;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ntc::ColumnId;

use super::{exit_code, rows};
use crate::answer::{Output, Style};
use crate::args::{Format, Latency};
use crate::knowledge::Knowledge;
use crate::latency::model::Model;
use crate::latency::{Measured, Question, measure};
use crate::numbers::counted;
use crate::scan::RowCache;
use crate::source::{Source, for_each_source};
use answer::{LatencyAnswer, Missing, Shown, SlowAnswer, Totals};
use lines::Compared;

/// Models that are measured at once, at most.
const MAX_MODELS: usize = 100;

/// Runs the command.
pub fn run(args: &Latency, out: &mut dyn Write) -> Result<ExitCode> {
    let knowledge = Knowledge::load(&args.input.rules)?;
    let mut baseline = args.baseline.as_deref().map(|path| open_baseline(path, args)).transpose()?;
    let mut output = Output::begin(args.input.format, &answer::columns(Shown::of(args)), out)?;
    let mut totals = Totals::default();
    let all = for_each_source(&args.input, &args.filter, |source| {
        let question = ask(source, &knowledge, args)?;
        let before =
            baseline.as_mut().map(|before| compared(before, source, &knowledge, args)).transpose()?;
        let measured = measure(source, &knowledge, &question)?;
        if let ([model], Some(_)) = (question.models.as_slice(), &args.from) {
            check_order(source, &knowledge, model, &measured)?;
        }
        let answer = answered(source, &knowledge, args, (&question, measured, before.as_ref()))?;
        totals.captures += 1;
        totals.legs += answer.legs();
        output.capture(&answer, &source.labels())
    })?;
    let line = format!("{} in {}", counted(totals.legs, "leg"), counted(totals.captures, "capture"));
    output.finish(&totals, &line)?;
    Ok(exit_code(all))
}

/// Opens the baseline.
fn open_baseline(path: &Path, args: &Latency) -> Result<Source> {
    Source::open(path, args.input.time, &args.filter).context("the baseline")
}

/// What is asked of a capture: its probes are asked for.
fn ask(source: &mut Source, knowledge: &Knowledge, args: &Latency) -> Result<Question> {
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut models = models(source, knowledge, args)?;
    if args.interval.is_some_and(|interval| interval.is_zero()) {
        bail!("--interval 0 is no interval: give a time such as 1s");
    }
    models.iter_mut().for_each(|model| model.ask(&mut source.probes));
    Ok(Question {
        models,
        by: args.by,
        interval: args.interval.map(ns),
        least: args.min.map_or(0, ns),
        worst: args.worst,
        // A record of CSV has none.
        events: args.worst > 0 && args.input.format != Format::Csv,
    })
}

/// The models that are asked for, as a capture can show them.
fn models(source: &Source, knowledge: &Knowledge, args: &Latency) -> Result<Vec<Model>> {
    let metadata = source.capture.metadata();
    let mut models = match (&args.from, &args.to) {
        (Some(from), Some(to)) => vec![Model::between(from, to, knowledge, metadata)?],
        _ => named(knowledge, args)?
            .into_iter()
            .map(|row| Model::of(row, knowledge, metadata))
            .collect::<Result<_>>()?,
    };
    if args.free {
        let with_free = |model: Model| model.with_free(knowledge, metadata);
        models = models.into_iter().map(with_free).collect::<Result<_>>()?;
    }
    if models.len() > MAX_MODELS {
        bail!("at most {MAX_MODELS} models are measured at once, and these are {}", models.len());
    }
    let is_asked_for = args.from.is_some() || !args.model.is_empty();
    let unable = models.iter().find(|model| is_asked_for && !is_answerable(model, args));
    match unable {
        Some(model) => bail!("{}", Missing::of(model).sentence(&model.name)),
        None => Ok(models),
    }
}

/// Whether a capture can answer a model that is asked for.
fn is_answerable(model: &Model, args: &Latency) -> bool {
    let ends_too = args.from.is_none() || model.missing().next().is_none();
    model.can_be_measured() && ends_too
}

/// The rows of models that are named, or of those that are shown first.
fn named<'k>(knowledge: &'k Knowledge, args: &Latency) -> Result<Vec<&'k crate::knowledge::Model>> {
    let rows = knowledge.models();
    if args.model.is_empty() {
        return Ok(rows.iter().filter(|row| row.first).collect());
    }
    let find = |name: &String| {
        let names = || rows.iter().map(|row| row.name.as_str());
        let near = || {
            words::nearest(name, names()).unwrap_or_else(|| "`ntana latency --help` lists them".to_owned())
        };
        rows.iter()
            .find(|row| row.name == *name)
            .with_context(|| format!("there is no model `{name}`; {}", near()))
    };
    args.model.iter().map(find).collect()
}

/// What the baseline says to the same question.
fn compared(before: &mut Source, now: &Source, knowledge: &Knowledge, args: &Latency) -> Result<Compared> {
    let (old, new) = (&before.capture.metadata().host.kernel, &now.capture.metadata().host.kernel);
    if old != new && !args.any_kernel {
        bail!(
            "the baseline {} is of kernel {old}, this capture of {new}: what differs may be the kernel's; compare nevertheless with --any-kernel",
            before.path.display()
        );
    }
    let path = before.path.display().to_string();
    let question = ask(before, knowledge, args).with_context(|| format!("the baseline {path}"))?;
    let question = Question { worst: 0, events: false, ..question };
    let measured = measure(before, knowledge, &question)?;
    Ok(Compared::new(measured.legs))
}

/// Refuses two stages that no packet passed one after the other, and says why.
fn check_order(source: &Source, knowledge: &Knowledge, model: &Model, found: &Measured<'_>) -> Result<()> {
    let counted = &found.counted[0];
    if !found.legs.is_empty() || counted.touched_by_loss > 0 {
        return Ok(());
    }
    let [from, to] = [&model.stages[0].name, &model.stages[1].name];
    let (begun, ended) = (counted.ends[0].all(), counted.unbegun);
    match (begun, ended) {
        (0, 0) => bail!("no packet passed {from} or {to}, as far as the filters let it through"),
        (0, _) => bail!("no packet passed {from}; {} passed {to}", counted_packets(ended)),
        (_, 0) => bail!("no packet passed {to}; {} passed {from}", counted_packets(begun)),
        _ => {}
    }
    let models = vec![model.reversed()];
    let question = Question { models, by: None, interval: None, least: 0, worst: 0, events: false };
    if !measure(source, knowledge, &question)?.legs.is_empty() {
        bail!("no packet passed {from} and then {to}, but the other way round: --from {to} --to {from}");
    }
    bail!(
        "no packet passed both {from} and {to}: {} passed the one, {} the other",
        counted_packets(begun),
        counted_packets(ended)
    )
}

/// How many packets.
fn counted_packets(count: u64) -> String {
    counted(count, "packet")
}

/// What is asked, what was found, and what the baseline says.
type Found<'q, 'a> = (&'q Question, Measured<'a>, Option<&'q Compared>);

/// The answer about a capture.
fn answered<'a>(
    source: &'a Source,
    knowledge: &Knowledge,
    args: &Latency,
    (question, measured, before): Found<'_, 'a>,
) -> Result<LatencyAnswer<'a>> {
    let mut cache = RowCache::new(source, &ColumnId::ALL);
    let style = Style::default();
    let slow = measured.worst.into_iter().map(|slow| {
        let life = rows::life(&slow.life, &mut cache, &source.times, style)?;
        Ok(SlowAnswer::new(&question.models[slow.model], &slow, life))
    });
    let worst = slow.collect::<Result<Vec<_>>>()?;
    let (head, probes) = (source.head(), source.probes.asked());
    let shown = lines::Shown { args, probes: &probes, start: head.start, before };
    let lines = lines::of(question, knowledge, measured.legs, &shown);
    let models = answer::models(question, measured.counted, lines);
    Ok(LatencyAnswer { head, models, lines_at_least: measured.full, worst, shown: Shown::of(args) })
}

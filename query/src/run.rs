//! Has a query answered.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use anyhow::{Error, Result, anyhow};
use polars::prelude::{DataFrame, Engine, LazyFrame, PlanCallback, PolarsError, PolarsResult, SchemaRef};
use polars::sql::SQLContext;

use crate::frames::Frames;
use crate::statement::Statement;

/// What a query asks, as a frame that was not computed yet, and its columns.
pub(crate) fn prepare(statement: &Statement<'_>, frames: &Frames) -> Result<(LazyFrame, SchemaRef)> {
    let plan = || {
        let mut context = SQLContext::new();
        for (table, frame) in &frames.tables {
            context.register(table.name(), frame.clone());
        }
        let mut frame = context.execute(statement.sql)?;
        // Names and types are looked at here, before there is an answer.
        let schema = frame.collect_schema()?;
        Ok((frame, schema))
    };
    let planned = catch_unwind(AssertUnwindSafe(plan)).unwrap_or_else(|panic| Err(unexpected(&*panic)));
    planned.map_err(|error| explained(error, statement))
}

/// Computes a frame, batch by batch in order; `each` takes them, and the first error stops it.
pub(crate) fn for_each(
    frame: LazyFrame,
    statement: &Statement<'_>,
    rows: NonZeroUsize,
    each: impl FnMut(DataFrame) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let computing = scope.spawn(move || {
            let computed = catch_unwind(AssertUnwindSafe(|| compute(frame, rows, sender.clone())));
            // Nobody may be left to hear it.
            let _ = sender.send(None);
            computed.unwrap_or_else(|panic| Err(unexpected(&*panic)))
        });
        let taken = receiver.iter().map_while(|batch| batch).try_for_each(each);
        drop(receiver);
        let computed = computing.join().unwrap_or_else(|panic| Err(unexpected(&*panic)));
        taken?;
        computed.map_err(|error| explained(error, statement))
    })
}

/// Computes a frame and sends its rows, until nobody takes them.
fn compute(frame: LazyFrame, rows: NonZeroUsize, sender: SyncSender<Option<DataFrame>>) -> PolarsResult<()> {
    let send = PlanCallback::new(move |batch: DataFrame| Ok(sender.send(Some(batch)).is_err()));
    frame.sink_batches(send, true, Some(rows))?.collect_with_engine(Engine::Streaming).map(|_| ())
}

/// What the engine did not expect.
fn unexpected(panic: &(dyn std::any::Any + Send)) -> PolarsError {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    PolarsError::ComputeError(format!("the SQL engine failed: {}", text.unwrap_or("unknown panic")).into())
}

/// An error of the engine in one sentence.
fn explained(error: PolarsError, statement: &Statement<'_>) -> Error {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let quoted = first.split(['"', '\'']).nth(1);
    match (innermost(&error), quoted.map(|name| name.split_once(':').ok_or(name))) {
        (PolarsError::ColumnNotFound(_) | PolarsError::SchemaFieldNotFound(_), Some(Err(name))) => {
            anyhow!("{}", statement.no_column(name))
        }
        // The engine's own name for one of two columns of a join.
        (PolarsError::ColumnNotFound(_) | PolarsError::SchemaFieldNotFound(_), Some(Ok((name, of)))) => {
            anyhow!(
                "give `{name}` of `{of}` a name of its own in a subquery or WITH: others have its name, too"
            )
        }
        _ => anyhow!("the query cannot be answered: {first}"),
    }
}

/// The error without what the engine says around it.
fn innermost(error: &PolarsError) -> &PolarsError {
    match error {
        PolarsError::Context { error, .. } | PolarsError::ExprContext { error, .. } => innermost(error),
        error => error,
    }
}

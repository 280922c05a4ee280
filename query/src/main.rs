//! `ntana-query`: answers SQL over captures of `ntrec`; `ntana query` runs it.

use std::io::{BufWriter, Write, stdout};
use std::panic;
use std::process::ExitCode;

use clap::Parser;
use ntana::args::Query;
use ntana::{captures, is_closed_pipe};

/// Answers SQL over captures of ntrec.
#[derive(Debug, Parser)]
#[command(version, name = "ntana-query")]
struct Cli {
    /// What is asked, and of what.
    #[command(flatten)]
    query: Query,
}

fn main() -> ExitCode {
    let Cli { query } = Cli::parse();
    // The engine's threads panic on what it does not expect in a file; that is told as an error, once.
    panic::set_hook(Box::new(|_| {}));
    match run(&query) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ntana-query: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Answers.
fn run(query: &Query) -> anyhow::Result<()> {
    captures::check(&query.files)?;
    let mut out = BufWriter::new(stdout().lock());
    ntana_query::answer(query, &mut out)?;
    Ok(out.flush()?)
}

//! `ntana`: diagnoses packet lives in captures of `ntrec`.

use std::io::{BufWriter, Write, stdout};
use std::process::ExitCode;

use clap::Parser;
use ntana::args::{Cli, Command};
use ntana::{captures, commands, is_closed_pipe};

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    match cli.parse_expression().and_then(|()| run(&cli.command)) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ntana: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Answers one question.
fn run(command: &Command) -> anyhow::Result<ExitCode> {
    captures::check(command.files())?;
    let mut out = BufWriter::new(stdout().lock());
    let code = match command {
        Command::Diag(args) => commands::diag::run(args, &mut out),
        Command::Trace(args) => commands::trace::run(args, &mut out),
        Command::Drops(args) => commands::drops::run(args, &mut out),
        Command::Latency(args) => commands::latency::run(args, &mut out),
        Command::Path(args) => commands::path::run(args, &mut out),
        Command::Replay(args) => commands::replay::run(args, &mut out),
        Command::Stats(args) => commands::stats::run(args, &mut out),
        Command::Query(args) => commands::query::run(args, &mut out),
        Command::Info(args) => commands::info::run(args, &mut out),
        Command::Repair(args) => commands::repair::run(args, &mut out),
    }?;
    out.flush()?;
    Ok(code)
}

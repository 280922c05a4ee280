//! `ntana query`: SQL, which a program of its own answers: its engine takes longer to build than all else together.

use std::env;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::args;
use crate::tables::{Column, TableId};

/// The program that answers.
const PROGRAM: &str = "ntana-query";

/// Runs the command: `ntana-query` with the same arguments, which are known to be right.
pub fn run(args: &args::Query, out: &mut dyn Write) -> Result<ExitCode> {
    if let Some(table) = &args.schema {
        show_schema(table, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = program();
    let status = match Command::new(&program).args(env::args_os().skip(2)).status() {
        Ok(status) => status,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "{PROGRAM}, which answers SQL, is neither beside ntana nor in PATH: take it from where ntana is from, or \
             build it by `cargo build --release -p ntana-query`"
        ),
        Err(error) => return Err(error).with_context(|| format!("starting {}", program.display())),
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.with_context(|| format!("{PROGRAM} ended by {status}"))?))
}

/// The program beside this one, else its name, which is looked for in PATH.
fn program() -> PathBuf {
    let name = format!("{PROGRAM}{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().map(|own| own.with_file_name(&name)).filter(|path| path.is_file());
    beside.unwrap_or_else(|| name.into())
}

/// Writes the columns of a table, or of all where `table` is empty.
pub fn show_schema(table: &str, out: &mut dyn Write) -> Result<()> {
    let tables = match TableId::from_name(table) {
        Some(table) => vec![table],
        None if table.is_empty() => TableId::ALL.to_vec(),
        None => bail!("{}", no_table(table)),
    };
    for (at, table) in tables.iter().enumerate() {
        let before = if at > 0 { "\n" } else { "" };
        writeln!(out, "{before}{}: {}", table.name(), table.doc())?;
        table.columns().iter().try_for_each(|column| show_column(column, out))?;
    }
    Ok(())
}

/// Writes a column.
fn show_column(column: &Column, out: &mut dyn Write) -> Result<()> {
    Ok(writeln!(out, "  {:<22} {:<6} {}", column.name, column.kind.name(), column.doc)?)
}

/// A sentence on a table that does not exist.
pub fn no_table(name: &str) -> String {
    let names: Vec<&str> = TableId::ALL.iter().map(|table| table.name()).collect();
    let nearest = words::nearest(name, names.iter().copied());
    format!(
        "there is no table `{name}`; {}",
        nearest.unwrap_or_else(|| format!("there are {}", names.join(", ")))
    )
}

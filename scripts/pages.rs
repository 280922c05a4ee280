//! `pages FOLDER`: man pages and completions of both programs, from their command lines, into `FOLDER/man` and
//! `FOLDER/completions`.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

/// Shells that completions are written for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: pages FOLDER")?);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for program in [ntrec::args::Cli::command(), ntana::args::Cli::command()] {
        for shell in SHELLS {
            clap_complete::generate_to(shell, &mut program.clone(), program.get_name(), &completions)?;
        }
        // The subcommand `help` needs no pages.
        let mut program = program.disable_help_subcommand(true);
        program.build();
        pages(&program, &man)?;
    }
    Ok(())
}

/// Writes the pages of a command and of its subcommands: `ntana.1`, `ntana-diag.1`.
fn pages(command: &Command, folder: &Path) -> Result<(), Box<dyn Error>> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let examples = [command.get_before_long_help(), command.get_after_help()].into_iter().flatten().next();
    let examples = examples.map(ToString::to_string);
    let command = command.clone().before_long_help(None::<&str>).after_help(None::<&str>);
    let mut page = Vec::new();
    Man::new(command.clone()).source(concat!("ntrec ", env!("CARGO_PKG_VERSION"))).render(&mut page)?;
    if let Some(examples) = examples {
        write_examples(&mut page, &examples)?;
    }
    fs::write(folder.join(format!("{name}.1")), page)?;
    command.get_subcommands().try_for_each(|subcommand| pages(subcommand, folder))
}

/// Writes the examples of `--help` as they stand there, below a heading instead of theirs.
fn write_examples(page: &mut Vec<u8>, examples: &str) -> std::io::Result<()> {
    writeln!(page, ".SH EXAMPLES\n.nf")?;
    for line in examples.lines().skip_while(|line| line.eq_ignore_ascii_case("examples:")) {
        writeln!(page, "\\&{}", line.replace('\\', "\\e").replace('-', "\\-"))?;
    }
    writeln!(page, ".fi")
}

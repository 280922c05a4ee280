//! `lab`: two hosts and a router in network namespaces, and traffic between them to look at.

mod recording;

use std::io::{ErrorKind, Read, Write, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use lab::flood::{Flood, Limit, udp_flood};
use lab::numbered::{Amount, Route, Sent, send};
use lab::scenario::{Ending, Ring, SCENARIOS, Scenario};
use lab::{Begun, Net, is_root};
use recording::Recording;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Builds hosts in network namespaces of its own and sends bounded traffic between them. Needs root.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What `lab` can do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the scenarios
    List,
    /// Build a net for each scenario, play them one after the other, take the nets down; on request with a recorder beside them
    Run(RunArgs),
    /// Send packets that each say who they are, over a route of its own; on request with a recorder beside it
    Numbered(NumberedArgs),
    /// Send a UDP flood over loopback in a namespace of its own and print its rate as JSON
    Flood(FloodArgs),
}

/// Arguments of `lab run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// Names that `lab list` shows
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<String>,
    /// The capture file that the recorder writes
    #[arg(long, value_name = "FILE", requires = "recorder")]
    out: Option<PathBuf>,
    /// Run `PATH capture -o FILE` meanwhile
    #[arg(long, value_name = "PATH", requires = "out")]
    recorder: Option<PathBuf>,
    /// More arguments for the recorder; {client}, {router} and {server} become inode numbers of namespaces, of all scenarios
    #[arg(last = true, requires = "recorder")]
    extra: Vec<String>,
}

/// Arguments of `lab numbered`.
#[derive(Debug, Args)]
struct NumberedArgs {
    /// Any of loopback, veth, bridge, nat, vxlan, segments; one after the other
    #[arg(value_name = "ROUTE", required = true, value_parser = Route::find)]
    routes: Vec<Route>,
    /// How many packets over each
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    packets: u64,
    /// How many a second
    #[arg(long, value_name = "N", default_value_t = 25_000)]
    rate: u64,
    /// The capture file that the recorder writes
    #[arg(long, value_name = "FILE", requires = "recorder")]
    out: Option<PathBuf>,
    /// Run `PATH capture -o FILE` meanwhile
    #[arg(long, value_name = "PATH", requires = "out")]
    recorder: Option<PathBuf>,
    /// More arguments for the recorder; {hosts} becomes the inode numbers of all namespaces
    #[arg(last = true, requires = "recorder")]
    extra: Vec<String>,
}

/// Arguments of `lab flood`.
#[derive(Debug, Args)]
struct FloodArgs {
    /// How long to send
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "packets")]
    seconds: u64,
    /// Send so many datagrams instead
    #[arg(long, value_name = "N")]
    packets: Option<u64>,
    /// Payload bytes of each datagram
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u16).range(..=65_000))]
    size: u16,
    /// Print the namespace's name first, and begin only when standard input ends
    #[arg(long)]
    wait: bool,
}

/// Parses, does, and turns an error into one line and exit status 2.
fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// One arm for each command.
fn run(command: &Command) -> Result<ExitCode> {
    if let Command::List = command {
        return list();
    }
    if !is_root() {
        anyhow::bail!("network namespaces need root; run this as root (sudo)");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let done = match command {
        Command::List => list(),
        Command::Run(args) => play(args, &stop),
        Command::Numbered(args) => numbered(args, &stop),
        Command::Flood(args) => flood(args, &stop),
    };
    // What failed after a signal failed because of it, as a rule: the children got it as well.
    done.or_else(
        |error| if stop.load(Ordering::Relaxed) { Ok(stopped(&error.to_string())) } else { Err(error) },
    )
}

/// Shows the scenarios, one a line: name, which tests record it, what happens. That nobody reads to the end is no error.
fn list() -> Result<ExitCode> {
    let lines = SCENARIOS.iter().map(|Scenario { name, about, ring, .. }| {
        let ring = if *ring == Ring::Live { "live" } else { "guest" };
        format!("{name:<20} {ring:<6} {about}\n")
    });
    match stdout().write_all(lines.collect::<String>().as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("write the list"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A scenario with its net.
type Scene = (&'static Scenario, Net);

/// Builds the nets, starts the recorder, plays the scenarios, and takes everything down in reverse.
fn play(args: &RunArgs, stop: &AtomicBool) -> Result<ExitCode> {
    let scene = |name: &String| Scenario::find(name).and_then(|scenario| Ok((scenario, scenario.net()?)));
    let scenes = args.scenarios.iter().map(scene).collect::<Result<Vec<Scene>>>()?;
    let recording = match (&args.recorder, &args.out) {
        (Some(recorder), Some(file)) => Some(Recording::start(recorder, file, &extra(args, &scenes), stop)?),
        _ => None,
    };
    let played = play_each(&scenes, &mut stdout(), stop);
    let recorded = recording.map_or(Ok(()), Recording::stop);
    let ending = played?;
    recorded?;
    Ok(match ending {
        Ending::Complete => ExitCode::SUCCESS,
        Ending::Stopped => stopped("not all steps were done"),
    })
}

/// Plays scenarios one after the other and tells when and where each one does.
fn play_each(scenes: &[Scene], out: &mut dyn Write, stop: &AtomicBool) -> Result<Ending> {
    for (scenario, net) in scenes {
        writeln!(out, "{}", Begun::now(scenario.name, net))?;
        for host in net.hosts() {
            writeln!(
                out,
                "{}: namespace {}, inode {}, {}",
                host.role(),
                host.name(),
                host.inode(),
                host.v4()
            )?;
        }
        if scenario.play(net, out, stop)? == Ending::Stopped {
            return Ok(Ending::Stopped);
        }
    }
    Ok(Ending::Complete)
}

/// The recorder's further arguments, with the hosts' names replaced by their inode numbers.
fn extra(args: &RunArgs, scenes: &[Scene]) -> Vec<String> {
    let inodes = |place: usize| {
        let inodes = scenes.iter().map(|(_, net)| net.hosts()[place].inode().to_string());
        inodes.collect::<Vec<_>>().join(",")
    };
    let places = [("{client}", inodes(0)), ("{router}", inodes(1)), ("{server}", inodes(2))];
    let named =
        |arg: &String| places.iter().fold(arg.clone(), |arg, (name, inodes)| arg.replace(name, inodes));
    args.extra.iter().map(named).collect()
}

/// Builds routes, starts the recorder, sends numbered packets over each, and says how many.
fn numbered(args: &NumberedArgs, stop: &AtomicBool) -> Result<ExitCode> {
    let routes = args.routes.iter().map(|route| Ok((*route, route.build()?))).collect::<Result<Vec<_>>>()?;
    let inodes = routes.iter().flat_map(|(_, hosts)| hosts.all()).map(|host| host.inode().to_string());
    let inodes = inodes.collect::<Vec<String>>().join(",");
    let extra: Vec<String> = args.extra.iter().map(|arg| arg.replace("{hosts}", &inodes)).collect();
    let recording = match (&args.recorder, &args.out) {
        (Some(recorder), Some(file)) => Some(Recording::start(recorder, file, &extra, stop)?),
        _ => None,
    };
    let amount = Amount { packets: args.packets, rate: args.rate };
    let sent = routes.iter().try_for_each(|(route, hosts)| {
        let Sent { requests, answers, writes } = send(*route, hosts, amount, stop)?;
        writeln!(stdout(), "{route:?}: {requests} requests, {answers} answers, {writes} writes")
            .context("write the result")
    });
    let recorded = recording.map_or(Ok(()), Recording::stop);
    sent?;
    recorded?;
    Ok(if stop.load(Ordering::Relaxed) { stopped("not all was sent") } else { ExitCode::SUCCESS })
}

/// Floods a host of its own and prints what came of it.
fn flood(args: &FloodArgs, stop: &AtomicBool) -> Result<ExitCode> {
    let host = Net::alone()?;
    if args.wait {
        writeln!(stdout(), r#"{{"namespace":"{}"}}"#, host.name()).context("write the namespace's name")?;
        await_end_of_input(stop)?;
    }
    let limit = args.packets.map_or(Limit::For(Duration::from_secs(args.seconds)), Limit::Packets);
    let flood = Flood { at: host.at(9), size: args.size.into(), limit, stop };
    let result = udp_flood(&host, &host, &flood)?;
    let lab::flood::FloodResult { sent, received, seconds } = result;
    let rate = result.rate();
    writeln!(stdout(), r#"{{"sent":{sent},"received":{received},"seconds":{seconds:.6},"rate":{rate:.1}}}"#)
        .context("write the result")?;
    Ok(if stop.load(Ordering::Relaxed) { stopped("the flood was cut short") } else { ExitCode::SUCCESS })
}

/// Waits until standard input has nothing more to come, or for a signal to us.
fn await_end_of_input(stop: &AtomicBool) -> Result<()> {
    let mut input = stdin();
    let look = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    while !stop.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(&input, PollFlags::IN)];
        match poll(&mut fds, Some(&look)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(error).context("wait for standard input"),
        }
        if input.read(&mut [0; 64]).context("read standard input")? == 0 {
            break;
        }
    }
    Ok(())
}

/// Says what a signal broke off; the exit status is the one that a shell gives to SIGINT.
fn stopped(what: &str) -> ExitCode {
    eprintln!("lab: stopped by a signal ({what}); everything was taken down");
    ExitCode::from(130)
}

#[cfg(test)]
mod root {
    use super::*;

    /// Nets of two scenarios.
    fn scenes() -> Vec<Scene> {
        let find = |name| Scenario::find(name).unwrap();
        [find("no-route"), find("ttl-expired")].map(|scenario| (scenario, scenario.net().unwrap())).into()
    }

    #[test]
    fn scenarios_are_played_in_their_order_each_in_namespaces_of_its_own() {
        let (scenes, mut told) = (scenes(), Vec::new());
        let ending = play_each(&scenes, &mut told, &AtomicBool::new(false)).unwrap();
        assert_eq!(ending, Ending::Complete);
        let told = String::from_utf8(told).unwrap();
        let begun: Vec<Begun> = told.lines().filter_map(|line| line.parse().ok()).collect();
        let [first, second] = begun.as_slice() else { unreachable!("{told}") };
        assert_eq!([&*first.scenario, &*second.scenario], ["no-route", "ttl-expired"]);
        assert!(first.at < second.at && first.namespaces != second.namespaces, "{told}");
    }

    #[test]
    fn the_recorder_is_told_the_namespaces_of_all_scenarios() {
        let scenes = scenes();
        let args =
            ["lab", "run", "no-route", "ttl-expired", "--recorder", "x", "--out", "y", "--", "{router}"];
        let Command::Run(args) = Cli::parse_from(args).command else { unreachable!("it is run") };
        let [first, second] = [&scenes[0].1, &scenes[1].1].map(|net| net.router.inode());
        assert_eq!(args.scenarios, ["no-route", "ttl-expired"]);
        assert_eq!(extra(&args, &scenes), [format!("{first},{second}")]);
    }
}

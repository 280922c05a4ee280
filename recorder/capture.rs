//! One recording, from the first probe to the summary.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{IsTerminal, Write, stderr};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ntc::{ClockSample, Count, Metadata, Options, Stopped, Writer};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args::Capture;
use crate::attach::{self, KernelCount, Plan, Session};
use crate::btf::Btf;
use crate::drain::{Drain, Drained};
use crate::kernel::{self, Enums};
use crate::nftables::{self, Tables};
use crate::plan::{self, Probe};
use crate::sink::{Ended, Sink};
use crate::table::{Loss, Table};
use crate::{clock, host, privileges, wire};

/// How long the reader sleeps at most; the buffer wakes it earlier when it fills up.
const NAP: Duration = Duration::from_millis(50);
/// Rows that are handed to the writer together.
const BATCH_ROWS: usize = 4096;
/// How long rows wait for others before they are handed over.
const BATCH_AGE: Duration = Duration::from_millis(100);
/// How often clocks and losses are noted.
const SECOND: Duration = Duration::from_secs(1);

/// Records until something says stop, and prints the summary.
pub fn run(args: &Capture) -> Result<()> {
    check_output(args)?;
    if std::env::var_os("NTREC_DEBUG").is_none() {
        libbpf_rs::set_print(None);
    }
    let btf = Rc::new(args.subject.btf.as_deref().map_or_else(Btf::kernel, Btf::file)?);
    nftables::sweep(args);
    let modules = host::modules();
    let mut plan = Plan::make(args, &btf)?;
    let enums = kernel::enums(&btf);
    drop(btf);
    let signals = Signals::register()?;
    let mut storage = [MaybeUninit::uninit(), MaybeUninit::uninit()];
    let mut session = attach::load(&mut storage, args, &mut plan)?;
    let mut metadata = describe(args, &enums);
    check_devices(args, &metadata)?;
    let options = Options { durable: args.limits.durable, ..Options::default() };
    // Attached before the file is touched: a start that fails leaves an old file as it was.
    session.attach(&mut plan)?;
    plan::check_demanded(&args.subject, &plan.probes)?;
    let tables = args.subject.nft_trace.then(|| Tables::add(args)).transpose()?;
    metadata.probes = plan.probes.iter().map(Probe::describe).collect();
    let writer = Writer::create(&args.output, metadata.clone(), options, args.force)?;
    let table = Table::new(enums, &metadata.interfaces, &plan.probes);
    privileges::give_up(tables.as_ref().is_some_and(Tables::are_left));
    let recording = Recording::new(args, metadata, table, modules, plan.without_functions.take());
    recording.run(&mut session, Sink::start(writer), &signals)
}

/// Refuses outputs that cannot be, before anything is loaded.
fn check_output(args: &Capture) -> Result<()> {
    if args.output.as_os_str() == "-" {
        bail!("-o - is refused: a capture is a Parquet file, which is completed by seeking; name a file");
    }
    if args.output.is_dir() {
        bail!(
            "{} is a directory: name a file in it, such as {}",
            args.output.display(),
            args.output.join("host1.ntc").display()
        );
    }
    if args.output.exists() && !args.force {
        bail!("{} exists: choose another name, or overwrite it with --force", args.output.display());
    }
    Ok(())
}

/// Refuses a device that no namespace has: a wrong name would record nothing in silence.
fn check_devices(args: &Capture, metadata: &Metadata) -> Result<()> {
    for dev in args.filter.devices() {
        if !metadata.interfaces.iter().any(|i| i.name == dev) {
            bail!("no network namespace of this host has a device '{dev}' (see ip -all netns exec ip link)");
        }
    }
    Ok(())
}

/// The metadata as far as it is known before the first event.
fn describe(args: &Capture, enums: &Enums) -> Metadata {
    let sample = clock::sample();
    let filters = args.filter.describe().into_iter().map(|(name, value)| (name.to_owned(), value));
    let named =
        [("skb_drop_reason", &enums.drop), ("sk_rst_reason", &enums.reset), ("tcp_state", &enums.tcp)];
    Metadata {
        recorder: concat!("ntrec ", env!("CARGO_PKG_VERSION")).to_owned(),
        command: std::env::args().collect(),
        host: host::describe(),
        filters: filters.collect(),
        enums: named.into_iter().map(|(name, members)| (name.to_owned(), members.clone())).collect(),
        interfaces: host::interfaces(sample.monotonic),
        clocks: vec![sample],
        started: sample.monotonic,
        ..Metadata::default()
    }
}

/// Signals that ask for the end.
struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Catches SIGINT, SIGTERM and SIGHUP; a second one ends the program at once.
    fn register() -> Result<Self> {
        let received = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register_usize(signal, received.clone(), signal as usize)
                .context("cannot catch signals")?;
        }
        Ok(Self(received))
    }

    /// The name of the signal that came.
    fn received(&self) -> Option<&'static str> {
        match self.0.load(Ordering::Relaxed) as i32 {
            SIGINT => Some("SIGINT"),
            SIGTERM => Some("SIGTERM"),
            SIGHUP => Some("SIGHUP"),
            _ => None,
        }
    }
}

/// A recording that runs.
struct Recording<'a> {
    /// The command line.
    args: &'a Capture,
    /// What the file says about itself.
    metadata: Metadata,
    /// The rows that were not handed over yet.
    table: Table,
    /// When it began.
    began: Instant,
    /// When rows were handed over last.
    handed: Instant,
    /// When clocks and losses were noted last.
    noted: Instant,
    /// Time of the last look at the losses, ns, and what was lost by then, by CPU and probe.
    losses: (u64, BTreeMap<(u16, u16), u64>),
    /// Events recorded.
    events: u64,
    /// Events left out by `--rate-limit`.
    left_out: u64,
    /// Notes that wait for the events before them.
    notes: VecDeque<Note>,
    /// The kernel's modules whose functions could be probed.
    modules: BTreeSet<String>,
    /// Why no functions are recorded, where they would be by default.
    without_functions: Option<String>,
}

/// A row that the recorder itself adds to the table.
enum Note {
    /// The clocks.
    Clock(ClockSample),
    /// Events lost.
    Loss(Loss),
}

impl Note {
    /// When it was taken, ns of CLOCK_MONOTONIC.
    fn ts(&self) -> u64 {
        match self {
            Self::Clock(sample) => sample.monotonic,
            Self::Loss(loss) => loss.ts,
        }
    }
}

impl<'a> Recording<'a> {
    /// A recording that begins now.
    fn new(
        args: &'a Capture,
        metadata: Metadata,
        table: Table,
        modules: BTreeSet<String>,
        without_functions: Option<String>,
    ) -> Self {
        let now = Instant::now();
        Self {
            args,
            losses: (metadata.started, BTreeMap::new()),
            metadata,
            table,
            began: now,
            handed: now,
            noted: now,
            events: 0,
            left_out: 0,
            notes: VecDeque::new(),
            modules,
            without_functions,
        }
    }

    /// Records until something says stop.
    fn run(mut self, session: &mut Session<'_>, sink: Sink, signals: &Signals) -> Result<()> {
        self.announce();
        sink.metadata(self.metadata.clone());
        self.notes.extend(self.metadata.clocks.first().map(|sample| Note::Clock(*sample)));
        let why = self.record(session, &sink, signals)?;
        session.stop();
        let at = clock::now();
        let drain = Drain::new(session.events())?;
        drain.finish(|record| self.push(record, &sink))?;
        drop(drain);
        self.note(session)?;
        self.add_notes(u64::MAX);
        self.hand_over(&sink);
        self.metadata.late_modules = host::modules().difference(&self.modules).cloned().collect();
        self.metadata.stopped = Some(Stopped { at, why: why.clone() });
        self.metadata.totals.counts = self.totals(session)?;
        self.left_out = session.left_out()?;
        sink.metadata(self.metadata.clone());
        let ended = sink.finish()?;
        self.summarise(&why, &ended);
        Ok(())
    }

    /// The loop: wait, drain, hand over, note, until there is a reason to stop.
    fn record(&mut self, session: &Session<'_>, sink: &Sink, signals: &Signals) -> Result<String> {
        let drain = Drain::new(session.events())?;
        loop {
            drain.wait(NAP);
            self.drain(&drain, session, sink, signals)?;
            if self.handed.elapsed() >= BATCH_AGE {
                self.hand_over(sink);
            }
            if self.noted.elapsed() >= SECOND {
                self.note(session)?;
                self.show_progress(sink);
            }
            if let Some(why) = self.reason(session, sink, signals) {
                // What the arena holds back is handed over now: the next reader has an arena of its own.
                drain.finish_arena(|record| self.push(record, sink));
                return Ok(why);
            }
        }
    }

    /// Reads the buffer until it is empty or there is a reason to stop.
    fn drain(
        &mut self,
        drain: &Drain<'_>,
        session: &Session<'_>,
        sink: &Sink,
        signals: &Signals,
    ) -> Result<()> {
        loop {
            let Drained { taken, until } = drain.drain(|record| self.push(record, sink))?;
            self.add_notes(until);
            if taken == 0 || self.reason(session, sink, signals).is_some() {
                return Ok(());
            }
        }
    }

    /// Why it is time to stop, if it is.
    fn reason(&self, session: &Session<'_>, sink: &Sink, signals: &Signals) -> Option<String> {
        let limits = &self.args.limits;
        if let Some(signal) = signals.received() {
            return Some(signal.to_owned());
        }
        if sink.progress().must_stop.load(Ordering::Relaxed) {
            return Some("disk full".to_owned());
        }
        let over = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
        if limits.duration.is_some_and(|d| self.began.elapsed() >= d) {
            Some("--duration".to_owned())
        } else if session.has_stopped() || over(limits.max_events, self.events) {
            Some("--max-events".to_owned())
        } else if over(limits.max_size, sink.progress().bytes.load(Ordering::Relaxed)) {
            Some("--max-size".to_owned())
        } else {
            None
        }
    }

    /// Adds an event to the table.
    fn push(&mut self, record: &[u8], sink: &Sink) {
        let Some(wire) = wire::parse(record) else { return };
        self.add_notes(wire.record.ts);
        self.table.push(&wire);
        self.events += 1;
        if self.table.len() >= BATCH_ROWS {
            self.hand_over(sink);
        }
    }

    /// Adds the notes that were taken up to `until`, ns: every earlier event is in the table.
    fn add_notes(&mut self, until: u64) {
        while let Some(note) = self.notes.pop_front_if(|note| note.ts() <= until) {
            match note {
                Note::Clock(sample) => self.table.push_clock(&sample),
                Note::Loss(loss) => self.table.push_loss(&loss),
            }
        }
    }

    /// Hands the rows to the writer.
    fn hand_over(&mut self, sink: &Sink) {
        self.handed = Instant::now();
        if self.table.len() == 0 {
            return;
        }
        let found = self.table.discovered();
        if !found.is_empty() {
            self.metadata.interfaces.extend(found);
            sink.metadata(self.metadata.clone());
        }
        match self.table.finish() {
            Ok(batch) => sink.rows(batch),
            Err(error) => eprintln!("ntrec: {error}"),
        }
    }

    /// Notes the clocks, and what was lost since the last time.
    fn note(&mut self, session: &Session<'_>) -> Result<()> {
        self.noted = Instant::now();
        let sample = clock::sample();
        self.metadata.clocks.truncate(1);
        self.metadata.clocks.push(sample);
        let span = sample.monotonic.saturating_sub(self.losses.0);
        for count in session.counters()? {
            let known = self.losses.1.entry((count.cpu, count.probe)).or_default();
            let new = count.lost - *known;
            *known = count.lost;
            if new > 0 {
                let (ts, cpu) = (sample.monotonic, count.cpu);
                let probe = session.name(count.probe).to_owned();
                self.notes.push_back(Note::Loss(Loss { ts, span, cpu, probe, count: new }));
            }
        }
        self.losses.0 = sample.monotonic;
        self.notes.push_back(Note::Clock(sample));
        Ok(())
    }

    /// Counted, recorded and lost, by probe and CPU.
    fn totals(&self, session: &Session<'_>) -> Result<Vec<Count>> {
        let kernel = session.counters()?;
        let counts = kernel.iter().map(|KernelCount { cpu, probe, counted, lost }| Count {
            probe: session.name(*probe).to_owned(),
            cpu: Some((*cpu).into()),
            counted: *counted,
            recorded: self.table.recorded(*cpu, *probe),
            lost: *lost,
            missed: 0,
        });
        let missed =
            session.missed().into_iter().map(|(probe, missed)| Count { probe, missed, ..Count::default() });
        Ok(counts.chain(missed).collect())
    }

    /// Events lost so far.
    fn lost(&self) -> u64 {
        self.losses.1.values().sum()
    }

    /// The line that says that recording has begun.
    fn announce(&self) {
        let probes = &self.metadata.probes;
        let missing = probes.iter().filter(|p| p.error.is_some()).count();
        let there = probes.len() - missing;
        let noun = if there == 1 { "probe" } else { "probes" };
        let mut line = format!("ntrec: recording to {} with {there} {noun}", self.args.output.display());
        if missing > 0 {
            line += &format!(" ({missing} not on this kernel: `ntrec probes` says why)");
        }
        if self.args.limits.duration.is_none() && stderr().is_terminal() {
            line += "; Ctrl-C ends it";
        }
        if let Some(why) = &self.without_functions {
            eprintln!("ntrec: tracepoints only, since this kernel's functions cannot be probed ({why})");
        }
        eprintln!("{line}");
    }

    /// The line that is written over and over on a terminal.
    fn show_progress(&self, sink: &Sink) {
        if !stderr().is_terminal() {
            return;
        }
        let bytes = sink.progress().bytes.load(Ordering::Relaxed);
        let _ = write!(
            stderr(),
            "\r{:>6.0} s  {:>12} events  {:>9}  {} lost\x1b[K",
            self.began.elapsed().as_secs_f64(),
            self.events,
            size(bytes),
            self.lost()
        );
    }

    /// The lines at the end.
    fn summarise(&self, why: &str, ended: &Ended) {
        if stderr().is_terminal() {
            eprintln!();
        }
        let (lost, left_out) = (self.lost() - self.left_out, self.left_out);
        let share = |part: u64| part as f64 * 100.0 / (self.events + self.lost()).max(1) as f64;
        eprintln!(
            "ntrec: {} events in {:.1} s, {} in {} (stopped by {why})",
            self.events,
            self.began.elapsed().as_secs_f64(),
            size(ended.finished.bytes),
            self.args.output.display(),
        );
        if let Some(reason) = &ended.cut_short {
            eprintln!("ntrec: stopped early: {reason}");
        }
        if left_out > 0 {
            eprintln!("ntrec: {left_out} events left out by --rate-limit ({:.1} %)", share(left_out));
        }
        if lost > 0 {
            eprintln!(
                "ntrec: {lost} events lost ({:.1} %): the buffer was full; a larger --buffer-size or a filter helps",
                share(lost)
            );
        }
        if !self.metadata.late_modules.is_empty() {
            eprintln!(
                "ntrec: loaded while recording: {}; to have their functions, too, record again",
                self.metadata.late_modules.join(", ")
            );
        }
        eprintln!("ntrec: next, here or anywhere: ntana diag {}", self.args.output.display());
    }
}

/// Bytes in a unit that reads well.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

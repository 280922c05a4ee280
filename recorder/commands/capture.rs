//! One recording, from the first probe to the summary.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ntc::schema::FINGERPRINT_BYTES;
use ntc::{ClockSample, Count, Metadata, Options, Stopped, Writer};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::status::{self, Tally};
use crate::args::Capture;
use crate::attach::{KernelCount, Plan, Probe, Session, choose};
use crate::kernel::btf::Btf;
use crate::kernel::enums::{self, Enums};
use crate::node::nftables::{self, Tables};
use crate::node::{clock, host, privileges};
use crate::rows::drain::{Drain, Drained};
use crate::rows::record;
use crate::rows::row_builder::{Loss, RowBuilder};
use crate::rows::sink::Sink;

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
    let enums = enums::read(&btf);
    drop(btf);
    let signals = Signals::register()?;
    let mut storage = [MaybeUninit::uninit(), MaybeUninit::uninit()];
    let mut session = Session::load(&mut storage, args, &mut plan)?;
    let mut metadata = describe(args, &enums);
    check_devices(args, &metadata)?;
    let options = Options { durable: args.limits.durable, ..Options::default() };
    // Attached before the file is touched: a start that fails leaves an old file as it was.
    session.attach(&mut plan)?;
    choose::check_demanded(&args.subject, &plan.probes)?;
    let tables = args.subject.nft_trace.then(|| Tables::add(args)).transpose()?;
    metadata.probes = plan.probes.iter().map(Probe::describe).collect();
    let writer = Writer::create(&args.output, metadata.clone(), options, args.force)?;
    let rows = RowBuilder::new(enums, &metadata.interfaces, &plan.probes);
    privileges::give_up(tables.as_ref().is_some_and(Tables::are_left));
    status::announce(args, &metadata, plan.without_functions.as_deref());
    Recording::new(args, metadata, rows, modules).run(&mut session, Sink::start(writer), &signals)
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
        fingerprint_bytes: FINGERPRINT_BYTES as u32,
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
    rows: RowBuilder,
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
    fn new(args: &'a Capture, metadata: Metadata, rows: RowBuilder, modules: BTreeSet<String>) -> Self {
        let now = Instant::now();
        Self {
            args,
            losses: (metadata.started, BTreeMap::new()),
            metadata,
            rows,
            began: now,
            handed: now,
            noted: now,
            events: 0,
            left_out: 0,
            notes: VecDeque::new(),
            modules,
        }
    }

    /// Records until something says stop.
    fn run(mut self, session: &mut Session<'_>, sink: Sink, signals: &Signals) -> Result<()> {
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
        let tally = self.tally(ended.finished.bytes);
        status::summarise(self.args, &self.metadata, &tally, ended.cut_short.as_deref());
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
                status::show_progress(&self.tally(sink.progress().bytes.load(Ordering::Relaxed)));
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
        let Some(record) = record::parse(record) else { return };
        self.add_notes(record.fixed.ts);
        self.rows.push(&record);
        self.events += 1;
        if self.rows.len() >= BATCH_ROWS {
            self.hand_over(sink);
        }
    }

    /// Adds the notes that were taken up to `until`, ns: every earlier event is in the table.
    fn add_notes(&mut self, until: u64) {
        while let Some(note) = self.notes.pop_front_if(|note| note.ts() <= until) {
            match note {
                Note::Clock(sample) => self.rows.push_clock(&sample),
                Note::Loss(loss) => self.rows.push_loss(&loss),
            }
        }
    }

    /// Hands the rows to the writer.
    fn hand_over(&mut self, sink: &Sink) {
        self.handed = Instant::now();
        if self.rows.len() == 0 {
            return;
        }
        let found = self.rows.discovered();
        if !found.is_empty() {
            self.metadata.interfaces.extend(found);
            sink.metadata(self.metadata.clone());
        }
        match self.rows.finish() {
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
            recorded: self.rows.recorded(*cpu, *probe),
            lost: *lost,
            missed: 0,
        });
        let missed =
            session.missed().into_iter().map(|(probe, missed)| Count { probe, missed, ..Count::default() });
        Ok(counts.chain(missed).collect())
    }

    /// How far it is; `bytes` are in the file.
    fn tally(&self, bytes: u64) -> Tally {
        let lost = self.losses.1.values().sum::<u64>() - self.left_out;
        Tally { elapsed: self.began.elapsed(), events: self.events, lost, left_out: self.left_out, bytes }
    }
}

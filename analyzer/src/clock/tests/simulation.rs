//! Two clocks and the messages between them, of which all is known.

use super::super::{Direction, Message, Pair};

/// Nanoseconds a second.
pub(super) const SECOND: f64 = 1e9;

/// Nanoseconds a microsecond.
pub(super) const US: f64 = 1e3;

/// What host A's clock shows at the simulation's start: four months after boot, more than a float tells apart.
const A_START: i64 = 10_000_000_000_000_003;

/// What host B's clock shows then: 80,000 seconds less.
const B_START: i64 = 9_920_203_492_086_821;

/// Numbers that look random, the same each time (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub u64);

impl Dice {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    pub fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From one number to another.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    /// As between, small ones as often as large ones.
    pub fn magnitude(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// Exponentially distributed.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }
}

/// From when on host B's clock goes how: offset in ns, skew, and by how much the skew changes in a ns.
#[derive(Clone, Copy, Debug)]
struct Course {
    from: f64,
    offset: f64,
    skew: f64,
    wander: f64,
}

impl Course {
    /// The offset at a time.
    fn at(&self, t: f64) -> f64 {
        let since = t - self.from;
        self.offset + self.skew * since + self.wander * since * since / 2.0
    }
}

/// Host B's clock against host A's, whose clock is right.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    /// By time.
    courses: Vec<Course>,
    /// When it stands still.
    pause: Option<(f64, f64)>,
}

impl Clock {
    /// A clock that runs fast by a constant: 1e-6 is 1 ppm.
    pub fn constant(skew: f64) -> Self {
        Self { courses: vec![Course { from: 0.0, offset: 0.0, skew, wander: 0.0 }], pause: None }
    }

    /// The same, but from a time on it runs as its changed course says.
    fn then(mut self, t: f64, change: impl FnOnce(&mut Course)) -> Self {
        let last = self.courses[self.courses.len() - 1];
        let skew = last.skew + last.wander * (t - last.from);
        let mut course = Course { from: t, offset: last.at(t), skew, wander: last.wander };
        change(&mut course);
        self.courses.push(course);
        self
    }

    /// From a time on its skew changes by `wander` each second.
    pub fn wanders(self, t: f64, wander: f64) -> Self {
        self.then(t, |course| course.wander = wander / SECOND)
    }

    /// From a time on it has another skew.
    pub fn slews(self, t: f64, skew: f64) -> Self {
        self.then(t, |course| course.skew = skew)
    }

    /// It is set.
    pub fn steps(self, t: f64, step: f64) -> Self {
        self.then(t, |course| course.offset += step)
    }

    /// It stands still for a while, as that of a guest that is paused.
    pub fn pauses(mut self, t: f64, length: f64) -> Self {
        let skew = self.courses[self.courses.len() - 1].skew;
        self.pause = Some((t, t + length));
        self.slews(t, -1.0).slews(t + length, skew)
    }

    /// The offset at a time, less what it was at the start.
    pub fn at(&self, t: f64) -> f64 {
        let i = self.courses.partition_point(|course| course.from <= t).max(1) - 1;
        self.courses[i].at(t)
    }

    /// Whether host B is paused.
    fn is_paused(&self, t: f64) -> bool {
        self.pause.is_some_and(|(from, to)| from <= t && t <= to)
    }

    /// What host A's clock shows.
    pub fn a(t: f64) -> i64 {
        A_START + t.floor() as i64
    }

    /// What host B's clock shows.
    pub fn b(&self, t: f64) -> i64 {
        B_START + (t + self.at(t)).floor() as i64
    }

    /// By how much an offset is wrong at a time, ns.
    pub fn error(&self, t: f64, offset: i64) -> f64 {
        (offset - (B_START - A_START)) as f64 - self.at(t)
    }
}

/// A network between both: from A to B, and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    /// Least delay, ns.
    pub least: [f64; 2],
    /// Mean of what queues add, ns.
    pub jitter: [f64; 2],
    /// Part of the messages that take some ms more.
    pub spikes: f64,
}

impl Network {
    /// That of the comparison: 40 us, and 60 us in queues.
    pub const LAN: Self = Self { least: [40e3; 2], jitter: [60e3; 2], spikes: 0.02 };

    /// How long a message takes.
    fn delay(&self, dice: &mut Dice, way: usize) -> f64 {
        let spike = if dice.part() < self.spikes { dice.exponential(2e6) } else { 0.0 };
        self.least[way] + dice.exponential(self.jitter[way]) + spike
    }

    /// When messages of one way are sent and received.
    fn times(self, dice: &mut Dice, way: usize, length: f64, rate: f64) -> Vec<(f64, f64)> {
        let sent: Vec<f64> = (0..(rate * length / SECOND) as usize)
            .map(|i| (i as f64 + dice.part()) / rate * SECOND)
            .collect();
        sent.into_iter().map(|sent| (sent, sent + self.delay(dice, way))).collect()
    }

    /// Messages between two hosts, by what their clocks show.
    pub fn pair(self, dice: &mut Dice, shown: [&dyn Fn(f64) -> i64; 2], length: f64, rate: f64) -> Pair {
        let mut pair = Pair::default();
        for (way, direction) in [Direction::Forward, Direction::Reverse].into_iter().enumerate() {
            for (sent, received) in self.times(dice, way, length, rate) {
                pair.add(direction, Message { sent: shown[way](sent), received: shown[1 - way](received) });
            }
        }
        pair
    }
}

/// Messages in both directions.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// Truth.
    pub clock: Clock,
    /// How long, ns.
    pub length: f64,
    /// All messages.
    pub messages: Vec<(Direction, Message)>,
}

impl Run {
    /// Messages at random times, so many a second on average each way.
    pub fn new(dice: &mut Dice, clock: Clock, network: Network, length: f64, rates: [f64; 2]) -> Self {
        let shown: [&dyn Fn(f64) -> i64; 2] = [&Clock::a, &|t| clock.b(t)];
        let mut messages = Vec::new();
        for (way, direction) in [Direction::Forward, Direction::Reverse].into_iter().enumerate() {
            for (sent, received) in network.times(dice, way, length, rates[way]) {
                if !clock.is_paused([received, sent][way]) {
                    let message = Message { sent: shown[way](sent), received: shown[1 - way](received) };
                    messages.push((direction, message));
                }
            }
        }
        Self { clock, length, messages }
    }

    /// The messages of both hosts.
    pub fn pair(&self) -> Pair {
        let mut pair = Pair::default();
        self.messages.iter().for_each(|(direction, message)| pair.add(*direction, *message));
        pair
    }

    /// The time on host A's clock, and the bound of the offset that a message gives; relative to the start.
    pub fn bound(&self, direction: Direction, message: Message) -> (f64, f64) {
        let (a, b) = match direction {
            Direction::Forward => (message.sent, message.received),
            Direction::Reverse => (message.received, message.sent),
        };
        ((a - A_START) as f64, (b - B_START - (a - A_START)) as f64)
    }

    /// Times all over the run.
    pub fn moments(&self, count: usize) -> impl Iterator<Item = f64> {
        let length = self.length;
        (0..=count).map(move |i| length * i as f64 / count as f64)
    }
}

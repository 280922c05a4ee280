//! Which devices packets crossed, on all hosts of their journey: what a user need not know beforehand.

use ahash::AHashMap;

use super::verdict::Judge;
use crate::latency::Distribution;

/// Ways that are told apart at most.
const MAX_WAYS: usize = 1 << 14;

/// The devices of a journey: by leg, the host and the number of its devices.
pub type Way = Vec<(usize, usize)>;

/// Packets that went the same way.
#[derive(Clone, Debug, Default)]
pub struct Went {
    /// How many.
    pub packets: u64,
    /// Those of them that were lost behind it.
    pub lost: u64,
    /// From the first to the last sighting, ns, as the clocks are estimated.
    pub times: Distribution,
}

/// All ways, the most frequent first; and whether there were more than are told apart.
pub fn ways(judge: &Judge<'_, '_>) -> (Vec<(Way, Went)>, bool) {
    let mut known: AHashMap<Way, Went> = AHashMap::default();
    let mut is_full = false;
    for root in judge.roots() {
        let legs = judge.way(root);
        let way: Way = legs.iter().map(|leg| (judge.legs[*leg].host, judge.legs[*leg].devices)).collect();
        if known.len() >= MAX_WAYS && !known.contains_key(&way) {
            is_full = true;
            continue;
        }
        let went = known.entry(way).or_default();
        went.packets += 1;
        went.lost += u64::from(judge.verdict(root).is_loss());
        went.times.add(took(judge, root, legs[legs.len() - 1]));
    }
    let mut ways: Vec<_> = known.into_iter().collect();
    ways.sort_unstable_by(|(a, many), (b, few)| few.packets.cmp(&many.packets).then_with(|| a.cmp(b)));
    (ways, is_full)
}

/// How long a packet was on its way, ns.
fn took(judge: &Judge<'_, '_>, first: usize, last: usize) -> u64 {
    let (first, last) = (&judge.legs[first], &judge.legs[last]);
    let (begin, end) =
        (judge.hosts.moment(first.host, first.span().0), judge.hosts.moment(last.host, last.span().1));
    u64::try_from(end.ns.saturating_sub(begin.ns)).unwrap_or(0)
}

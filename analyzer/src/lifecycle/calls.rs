//! Calls whose return is recorded and has not come yet.

use std::collections::VecDeque;

/// Calls of one CPU that are awaited at most: they nest, and a task that sleeps leaves some behind.
const MAX_PER_CPU: usize = 1024;
/// Calls of all CPUs that are awaited at most.
const MAX_CALLS: usize = 256 << 10;

/// A life by its slot, and the start that tells it from a later one there.
pub(super) type LifeRef = (u32, u64);

/// Awaited calls by CPU, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// By CPU: number of the call and its life; none where it has returned.
    by_cpu: Vec<VecDeque<(u64, Option<LifeRef>)>>,
    /// All entries.
    count: usize,
}

impl Calls {
    /// Notes a call, as [`crate::event::Event::call`] names it. The oldest of the CPU makes room.
    pub(super) fn add(&mut self, call: u64, life: LifeRef) {
        let cpu = (call >> 48) as usize;
        if self.by_cpu.len() <= cpu {
            self.by_cpu.resize_with(cpu + 1, VecDeque::new);
        }
        let calls = &mut self.by_cpu[cpu];
        if calls.len() >= MAX_PER_CPU || self.count >= MAX_CALLS && !calls.is_empty() {
            calls.pop_front();
            self.count -= 1;
        }
        if self.count >= MAX_CALLS {
            return;
        }
        // Numbers grow on a CPU, but an interrupt may come between a number and its time.
        let is_newest = calls.back().is_none_or(|(newest, _)| *newest < call);
        let position =
            if is_newest { calls.len() } else { calls.partition_point(|(number, _)| *number < call) };
        if calls.get(position).is_none_or(|(number, _)| *number != call) {
            calls.insert(position, (call, Some(life)));
            self.count += 1;
        }
    }

    /// The life of a call that returns now.
    pub(super) fn take(&mut self, call: u64) -> Option<LifeRef> {
        let calls = self.by_cpu.get_mut((call >> 48) as usize)?;
        let position = calls.binary_search_by_key(&call, |(number, _)| *number).ok()?;
        let life = calls[position].1.take();
        while calls.back().is_some_and(|(_, life)| life.is_none()) {
            calls.pop_back();
            self.count -= 1;
        }
        life
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_calls_return_in_any_order() {
        let mut calls = Calls::default();
        (1..=3).for_each(|number| calls.add(number, (number as u32, 0)));
        assert_eq!(calls.take(2), Some((2, 0)));
        assert_eq!(calls.take(2), None);
        assert_eq!(calls.take(3), Some((3, 0)));
        assert_eq!(calls.take(1), Some((1, 0)));
        assert_eq!(calls.count, 0);
    }

    #[test]
    fn only_the_oldest_of_a_cpu_make_room() {
        let mut calls = Calls::default();
        calls.add(1 << 48 | 5, (9, 0));
        (0..=MAX_PER_CPU as u64).for_each(|number| calls.add(number, (0, number)));
        assert_eq!(calls.take(0), None);
        assert_eq!(calls.take(1), Some((0, 1)));
        assert_eq!(calls.take(1 << 48 | 5), Some((9, 0)));
    }

    #[test]
    fn endless_cpus_are_bounded() {
        let mut calls = Calls::default();
        for cpu in 0..0x1_0000_u64 {
            (0..8).for_each(|number| calls.add(cpu << 48 | number, (0, 0)));
        }
        assert!(calls.count <= MAX_CALLS);
    }
}

//! How many events of each probe and CPU became rows.

use crate::bpf::types::record;

/// Rows recorded, by CPU and probe.
pub struct Recorded {
    /// The counts.
    by_cpu: Vec<Vec<u64>>,
    /// Numbers that probes may have.
    probes: usize,
}

impl Recorded {
    /// Nothing so far, of so many probes.
    pub fn new(probes: usize) -> Self {
        Self { by_cpu: Vec::new(), probes }
    }

    /// Counts an event.
    pub fn count(&mut self, r: &record) {
        let cpu = usize::from(r.cpu);
        if cpu >= self.by_cpu.len() {
            self.by_cpu.resize(cpu + 1, vec![0; self.probes]);
        }
        if let Some(count) = self.by_cpu[cpu].get_mut(usize::from(r.probe)) {
            *count += 1;
        }
    }

    /// Events of a probe on a CPU.
    pub fn of(&self, cpu: u16, probe: u16) -> u64 {
        let counts = self.by_cpu.get(usize::from(cpu));
        counts.and_then(|counts| counts.get(usize::from(probe))).copied().unwrap_or(0)
    }
}

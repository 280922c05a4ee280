//! Interfaces that events met and that the metadata does not have yet.

use ahash::AHashSet;
use ntc::Interface;

use super::record;
use crate::bpf::types::record as Record;

/// Namespace, index and name.
type Key = (u32, u32, [i8; 16]);

/// The interfaces of a recording.
#[derive(Default)]
pub struct Interfaces {
    /// Those that are in the metadata already, or discovered.
    known: AHashSet<Key>,
    /// The interface of the last event, which is the next one's too as a rule.
    last: Key,
    /// Those that were met since they were asked for.
    discovered: Vec<Interface>,
}

impl Interfaces {
    /// Begins with those that are in the metadata.
    pub fn new(known: &[Interface]) -> Self {
        let known = known.iter().map(|i| (i.netns, i.ifindex, chars(&i.name))).collect();
        Self { known, ..Self::default() }
    }

    /// Notes the interface of an event.
    pub fn note(&mut self, r: &Record) {
        let interface = (r.netns, r.ifindex, r.dev);
        if self.last == interface {
            return;
        }
        self.last = interface;
        if !self.known.insert(interface) {
            return;
        }
        let (netns, ifindex, since) = (r.netns, r.ifindex, r.ts);
        self.discovered.push(Interface { netns, ifindex, name: record::name(&r.dev), since });
    }

    /// Those met since the last call.
    pub fn discovered(&mut self) -> Vec<Interface> {
        std::mem::take(&mut self.discovered)
    }
}

/// A name as the kernel keeps it.
fn chars(name: &str) -> [i8; 16] {
    let mut bytes = [0_i8; 16];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from.cast_signed());
    bytes
}

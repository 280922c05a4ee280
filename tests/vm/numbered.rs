//! Lives of numbered packets in a guest, held against what the packets say of themselves.

use ntc::Capture;

use crate::guest::{Guest, Recording, analyzer};
use crate::judge::open;
use crate::truth::{Figures, Truth, lives};

/// What is recorded, as `tests/vm/record` calls it: the whole way, and three functions alone, at which only the header
/// tells packets apart.
pub const NUMBERED: [&str; 2] = ["numbered-life", "numbered-functions"];

/// Packets that must be in each capture; how many are sent stands in `tests/vm/record`.
const LEAST: u64 = 1000;

/// Complaints about events that were joined to other packets.
pub fn complaints(guest: &Guest) -> Vec<String> {
    guest.numbered.iter().filter_map(|recording| judge(guest, recording).err()).collect()
}

/// Judges one recording.
fn judge(guest: &Guest, recording: &Recording) -> Result<(), String> {
    let capture: Capture = open(recording)?;
    let figures = Truth::read(&capture).compare(&lives(&analyzer(), &recording.file));
    let (name, lost) = (recording.name, capture.metadata().totals.lost());
    eprintln!("kernel {}, {name}, {lost} events lost:\n{}\n{figures}", guest.kernel, Figures::TITLE);
    if figures.different < LEAST {
        return Err(format!("{name}: only {} packets", figures.different));
    }
    if figures.wrong > 0 {
        let Figures { wrong, known, faults, .. } = &figures;
        return Err(format!(
            "{name}: {wrong} of {known} rows in lives of other packets; {}",
            faults.join("\n")
        ));
    }
    Ok(())
}

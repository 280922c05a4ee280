//! Words of the command line: networks, ports, lengths, protocols, devices, TCP flags, times, sizes, addresses of packets.
//!
//! Both programs read them here, so that the same word means the same to `ntrec` and `ntana`, and a wrong one is refused
//! with the same sentence.

#![forbid(unsafe_code)]

mod address;
mod device;
mod flags;
mod nearest;
mod network;
mod protocol;
mod quantity;
mod range;

pub use address::packet_address;
pub use device::Device;
pub use flags::{Flags, flag_letters};
pub use nearest::nearest;
pub use network::Network;
pub use protocol::{Layer, Protocol, ethertype_name, ip_protocol_name};
pub use quantity::{duration, size};
pub use range::Range;

/// A word that means nothing. As text: which word, what it is not, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is no {what}: {remedy}")]
pub struct Error {
    /// The word as the user wrote it.
    word: String,
    /// What it should be.
    what: &'static str,
    /// What would be right.
    remedy: String,
}

impl Error {
    /// The refusal of a word.
    fn new(word: &str, what: &'static str, remedy: impl Into<String>) -> Self {
        Self { word: word.to_owned(), what, remedy: remedy.into() }
    }
}

/// A number of nothing but decimal digits; the standard library takes a sign, too.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

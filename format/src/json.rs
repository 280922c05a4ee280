//! The metadata as JSON, within bounds that readers can hold.

use crate::durability::checkpoint::MAX_PAYLOAD;
use crate::metadata::Metadata;

/// Objects and entries that a reader accepts: each takes up to some hundred bytes in memory.
const MAX_ENTRIES: usize = 500_000;

/// The metadata as JSON.
pub fn write(metadata: &Metadata) -> Vec<u8> {
    let json = encode(metadata);
    if fits(&json) {
        return json;
    }
    // Only the list of interfaces can grow so long, and the rows name theirs.
    encode(&Metadata { interfaces: Vec::new(), ..metadata.clone() })
}

/// Encodes it. The types leave nothing that can fail: keys are numbers or text.
fn encode(metadata: &Metadata) -> Vec<u8> {
    serde_json::to_vec(metadata).unwrap_or_default()
}

/// Reads metadata back.
pub fn read(json: &[u8]) -> Result<Metadata, String> {
    if !fits(json) {
        return Err("metadata too large".to_owned());
    }
    serde_json::from_slice(json).map_err(|e| format!("metadata: {e}"))
}

/// Whether a reader accepts that much.
fn fits(json: &[u8]) -> bool {
    let entries = json.iter().filter(|byte| matches!(byte, b'{' | b'[' | b',')).count();
    // Half a payload, as the columns of a row group stand beside it.
    json.len() <= MAX_PAYLOAD as usize / 2 && entries <= MAX_ENTRIES
}

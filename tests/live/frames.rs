//! Ethernet frames, made by hand and sent as they are.

use std::mem::zeroed;
use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use lab::Host;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

/// An address.
pub type Mac = [u8; 6];

/// A frame; with the tags of VLANs, each a protocol and a number.
pub fn frame((from, to): (Mac, Mac), tags: &[(u16, u16)], protocol: u16, payload: &[u8]) -> Vec<u8> {
    let words = tags.iter().flat_map(|(tpid, tci)| [*tpid, *tci]).chain([protocol]);
    let types: Vec<u8> = words.flat_map(u16::to_be_bytes).collect();
    [&to, &from, &types[..], payload].concat()
}

/// Sends frames on a device.
pub fn send(host: &Host, device: &str, frames: &[Vec<u8>]) -> Result<()> {
    host.run(|| {
        let packets = socket(AddressFamily::PACKET, SocketType::RAW, None)?;
        let index = netdevice::name_to_index(&packets, device)?;
        // SAFETY: zeros are an address, of no device.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        // SAFETY: the address is one of that length.
        let bound = unsafe {
            libc::bind(packets.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32)
        };
        ensure!(bound == 0, "cannot bind to {device}: {}", std::io::Error::last_os_error());
        for frame in frames {
            rustix::io::write(&packets, frame)?;
        }
        Ok(())
    })
}

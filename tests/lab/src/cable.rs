//! Tap devices, and what is behind them: a virtual machine, as far as its host sees it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::host::Host;

/// The longest frame.
const FRAME: usize = 64 * 1024;

/// Makes a tap device in the calling thread's host, which is gone when the file is closed.
///
/// # Errors
///
/// When the kernel has no such devices, or has one of that name.
pub fn tap(name: &str, flags: i16) -> std::io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an `ifreq` of zeroes is valid: no name, no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte of the name stays 0.
    let room = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
    room.zip(name.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
    request.ifr_ifru.ifru_flags = flags | (libc::IFF_TAP | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads and writes an `ifreq`, which lives until it returns.
    match unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } {
        0 => Ok(file),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Joins a device of a virtual machine to one of its host, as a hypervisor does: what one of two tap devices is given to send is
/// written to the other. Dropping it takes both devices away.
#[derive(Debug)]
pub(crate) struct Cable {
    /// Passes frames on.
    thread: Option<JoinHandle<()>>,
    /// Closed to end that.
    stop: Option<UnixStream>,
}

impl Cable {
    /// Makes both devices.
    pub(crate) fn plug((host, device): (&Host, &str), (peer, peer_device): (&Host, &str)) -> Result<Self> {
        let end = |host: &Host, device: &str| {
            let make = host.run(|| Ok(tap(device, 0)?));
            make.with_context(|| format!("make the tap device {device} in {}", host.name()))
        };
        let ends = [end(host, device)?, end(peer, peer_device)?];
        let (stop, stopped) = UnixStream::pair()?;
        let pass = move || pass_on(ends, &stopped);
        let thread = thread::Builder::new().name("lab-cable".to_owned()).spawn(pass)?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// Passes frames on until `stopped` is.
fn pass_on(mut ends: [File; 2], stopped: &UnixStream) {
    let mut frame = vec![0; FRAME];
    loop {
        let mut fds = [
            PollFd::new(&ends[0], PollFlags::IN),
            PollFd::new(&ends[1], PollFlags::IN),
            PollFd::new(stopped, PollFlags::IN),
        ];
        let is_interrupted = poll(&mut fds, None) == Err(Errno::INTR);
        let [first, second, stop] = fds.map(|fd| !is_interrupted && !fd.revents().is_empty());
        if stop {
            return;
        }
        for (from, is_ready) in [(0, first), (1, second)] {
            // A device that is down takes no frame, which is lost then.
            if is_ready && let Ok(length) = ends[from].read(&mut frame) {
                let _ = ends[1 - from].write(&frame[..length]);
            }
        }
    }
}

#[cfg(test)]
mod root {
    use super::*;
    use crate::Net;
    use crate::net::batch;
    use crate::traffic::ping;

    #[test]
    fn a_virtual_machine_is_reached_through_its_device_until_that_is_taken_away() {
        let (machine, host) = (Net::alone().unwrap(), Net::alone().unwrap());
        let cable = Cable::plug((&machine, "eth0"), (&host, "vnet0")).unwrap();
        batch(&machine, "link set eth0 up\naddr add 10.77.1.2/24 dev eth0\n").unwrap();
        batch(&host, "link set vnet0 up\naddr add 10.77.1.1/24 dev vnet0\n").unwrap();
        assert_eq!(ping(&host, "10.77.1.2".parse().unwrap(), 3).unwrap().answered, 3);
        drop(cable);
        assert!(host.sh("ip", &["link", "show", "dev", "vnet0"]).is_err());
    }
}

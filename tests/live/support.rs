//! What the tests share: whether they can run, who runs when, and a steady sender.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use lab::Host;
use lab::flood::{Flood, Limit, udp_flood};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::recorder::binary;

/// Whether tests can run here; see [`harness::skip`].
pub fn ready() -> bool {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    let Some(obstacle) = OBSTACLE.get_or_init(obstacle) else { return true };
    harness::skip(obstacle);
    false
}

/// Why tests cannot run here.
fn obstacle() -> Option<String> {
    if !lab::is_root() {
        return Some("network namespaces and BPF need root".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF".to_owned());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut trial = harness::own(binary());
    trial.args(["capture", "--duration", "1ms", "-o"]).arg(dir.path().join("trial.ntc"));
    let output = trial.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then(|| format!("a trial recording failed: {said}"))
}

/// Tests that measure time or fill the machine run alone; all others together.
static TURNS: RwLock<()> = RwLock::new(());

/// Begins a test that others may run beside; `None` where it cannot run.
pub fn beside_others() -> Option<RwLockReadGuard<'static, ()>> {
    // A test that failed does not stop the next one.
    ready().then(|| TURNS.read().unwrap_or_else(|failed| failed.into_inner()))
}

/// Begins a test that others would disturb; `None` where it cannot run.
pub fn undisturbed() -> Option<RwLockWriteGuard<'static, ()>> {
    ready().then(|| TURNS.write().unwrap_or_else(|failed| failed.into_inner()))
}

/// CLOCK_MONOTONIC now, ns.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Floods a host's loopback device as fast as it goes while `work` is done; returns how many datagrams were sent.
pub fn flooded<T>(host: &Host, work: impl FnOnce() -> T) -> (T, u64) {
    let stop = AtomicBool::new(false);
    let limit = Limit::For(Duration::from_secs(60));
    let flood = Flood { at: host.at(7000), size: 64, limit, stop: &stop };
    thread::scope(|scope| {
        let flooding = scope.spawn(|| udp_flood(host, host, &flood).unwrap().sent);
        let ended = Stopping(&stop);
        let result = work();
        drop(ended);
        (result, flooding.join().unwrap())
    })
}

/// Sets a flag when it is dropped, so that a test that fails ends its traffic, too.
pub struct Stopping<'a>(pub &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends datagrams to a port of the host itself that is bound but never read, `rate` a second, until `stop`.
pub fn send_steadily(host: &Host, rate: u32, stop: &AtomicBool) {
    let send = || {
        let receiver = UdpSocket::bind("127.0.0.1:0")?;
        let at = receiver.local_addr()?;
        let sender = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let (begun, mut sent) = (Instant::now(), 0);
        receiver.set_nonblocking(true)?;
        while !stop.load(Ordering::Relaxed) {
            while f64::from(sent) < begun.elapsed().as_secs_f64() * f64::from(rate) {
                sender.send_to(b"steady", at)?;
                while receiver.recv(&mut [0; 8]).is_ok() {}
                sent += 1;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    host.run(send).unwrap();
}

/// A small file system of its own, unmounted in the end.
pub struct Tmpfs(TempDir);

impl Tmpfs {
    /// Mounts one of a size such as `8m`.
    pub fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=755");
        let mount = harness::program("mount")
            .args(["-t", "tmpfs", "-o", &options, "live-test"])
            .arg(dir.path())
            .status();
        assert!(mount.unwrap().success());
        Self(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily, so that a recorder that still writes does not keep it.
        let _ = harness::program("umount").arg("-l").arg(self.path()).status();
    }
}

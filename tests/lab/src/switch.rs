//! Open vSwitch with its daemon, as hosts of virtual machines have it.

use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::host::Host;
use crate::net::{await_link, batch};
use crate::process::Process;

/// Where the distribution keeps the form of the daemon's database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long a daemon may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// Packets go through connection tracking, and then where their addresses are known to be.
const FLOWS: &str = "\
priority=1,ip,ct_state=-trk,actions=ct(table=1)
priority=0,actions=normal
table=1,ip,actions=ct(commit),normal
";

/// Open vSwitch in a host that joins two others: `vnet0`, as a virtual machine's device is called, for `left`, `eth1`, as one on
/// the wire is called, for `right`, and `br0`, at which the host itself has its address. The kernel asks the daemon about what
/// it has no flow for. Dropping it ends the daemon and its database.
#[derive(Debug)]
pub(crate) struct Switch {
    /// Makes flows.
    _daemon: Process,
    /// Tells it what to do.
    _database: Process,
    /// Sockets, and the database.
    folder: TempDir,
}

impl Switch {
    /// Sets it up.
    pub(crate) fn begin(host: &Host) -> Result<Self> {
        for (old, new) in [("left", "vnet0"), ("right", "eth1")] {
            batch(host, &format!("link set {old} down\nlink set {old} name {new}\nlink set {new} up\n"))?;
            await_link(host, new)?;
        }
        let folder = tempfile::tempdir().context("make a folder for Open vSwitch")?;
        let file = |name: &str| folder.path().join(name).display().to_string();
        host.sh("ovsdb-tool", &["create", &file("database"), SCHEMA])?;
        let remote = format!("--remote=punix:{}", file("socket"));
        let database = start(host, "ovsdb-server", &[&file("database"), &remote], folder.path())?;
        await_file(&folder.path().join("socket"))?;
        let socket = format!("unix:{}", file("socket"));
        let daemon = start(host, "ovs-vswitchd", &[&socket], folder.path())?;
        let switch = Self { _daemon: daemon, _database: database, folder };
        switch.add_bridge(host)?;
        Ok(switch)
    }

    /// Adds `br0` with its ports; the daemon has done it when this returns.
    fn add_bridge(&self, host: &Host) -> Result<()> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (database, bridge) =
            (format!("--db=unix:{}", path("socket")), format!("unix:{}", path("br0.mgmt")));
        let add = ["add-br", "br0", "--", "add-port", "br0", "vnet0", "--", "add-port", "br0", "eth1"];
        host.sh("ovs-vsctl", &[&[database.as_str(), "--timeout=30"], &add[..]].concat())?;
        host.feed("ovs-ofctl", &["add-flows", &bridge, "-"], FLOWS)?;
        batch(host, &format!("addr add {}/24 dev br0\nlink set br0 up\n", host.v4()))
    }
}

/// Starts a program of Open vSwitch that keeps its files in a folder.
fn start(host: &Host, program: &str, args: &[&str], folder: &Path) -> Result<Process> {
    let mut command = harness::program(program);
    command.args(args).arg("--no-chdir").env("OVS_RUNDIR", folder).env("OVS_LOGDIR", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    host.run(|| Process::start(&mut command))
}

/// Waits until there is a file.
fn await_file(path: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !path.exists() {
        ensure!(Instant::now() < until, "no {} after {PATIENCE:?}", path.display());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

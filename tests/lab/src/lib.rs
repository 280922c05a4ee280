//! Hosts in network namespaces, and real traffic between them.
//!
//! [`Net::new`] builds `client`, `router` and `server`, joined by veth pairs, and [`Net::build`] other ways to
//! join them; [`traffic`] sends bounded traffic between them and says what the kernel's own counters made of
//! it; [`scenario`] strings such steps together under a name. Everything is taken down when the [`Net`] is dropped. Linux and root only.
//!
//! ```no_run
//! let net = lab::Net::new()?;
//! let echoed = lab::traffic::udp_echo(&net.client, &net.server, net.server.at(7), 10, 100)?;
//! assert_eq!(echoed.answered, 10);
//! # anyhow::Ok(())
//! ```

mod begun;
mod cable;
mod delayed;
pub mod flood;
mod host;
mod net;
pub mod numbered;
mod process;
pub mod scenario;
mod switch;
mod topology;
pub mod traffic;

pub use begun::Begun;
pub use cable::tap;
pub use delayed::Delayed;
pub use host::{Counters, Host};
pub use net::{Net, Pair, is_root};
pub use process::Process;
pub use topology::{Layer, Middle, Topology};

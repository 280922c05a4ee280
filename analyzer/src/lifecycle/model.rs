//! Lives against packets whose way is known, since it was made up: nothing here knows a rule of the code under test.
//!
//! A few addresses go from packet to packet. Packets that have an address at the same time are interleaved at random, and
//! an address is given away only when its packet has made its whole way. Then each packet is one life: its first event and
//! its last, how many there are, and how it ended.

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::knowledge::tests::shipped;
use crate::script::Script;

/// A way through hosts: events as [`Script`] has them, and how it ends. `HEAD` stands for the packet's header, `NAT` for
/// the same with another source, `TUNNEL` for the header around it, `BARE` for a header without a number.
struct Way {
    /// What happens, in this order.
    events: &'static [&'static str],
    /// What the outcome begins with; nothing where no event shows an end.
    outcome: &'static str,
}

/// All ways.
const WAYS: &[Way] = &[
    // Sent, with all that tells of it; with functions; without what a driver gets.
    Way {
        events: &[
            "net_dev_queue eth0 HEAD",
            "net_dev_start_xmit eth0 HEAD",
            "net_dev_xmit eth0",
            "consume_skb at=napi_consume_skb+0x1",
        ],
        outcome: "TRANSMITTED by eth0",
    },
    Way {
        events: &[
            "__ip_local_out kind=pkt HEAD",
            "ip_output kind=pkt eth0 HEAD",
            "net_dev_queue eth0 HEAD",
            "validate_xmit_skb kind=pkt eth0 HEAD",
            "net_dev_start_xmit eth0 HEAD",
            "net_dev_xmit eth0",
        ],
        outcome: "TRANSMITTED by eth0",
    },
    // Refused by the driver, and sent then.
    Way {
        events: &[
            "net_dev_queue eth0 HEAD",
            "net_dev_start_xmit eth0 HEAD",
            "net_dev_xmit eth0 ret=16",
            "net_dev_start_xmit eth0 HEAD",
            "net_dev_xmit eth0",
            "consume_skb at=napi_consume_skb+0x1",
        ],
        outcome: "TRANSMITTED by eth0",
    },
    // Received: delivered without any free, consumed, dropped.
    Way {
        events: &[
            "napi_gro_receive_entry eth1 HEAD",
            "netif_receive_skb eth1 HEAD iif=2",
            "skb_copy_datagram_iovec HEAD",
        ],
        outcome: "DELIVERED",
    },
    Way {
        events: &[
            "netif_receive_skb_entry eth1 HEAD",
            "netif_receive_skb eth1 HEAD iif=2",
            "ip_rcv kind=pkt eth1 HEAD iif=2",
            "tcp_v4_rcv kind=pkt eth1 HEAD iif=2",
            "tcp_probe",
            "consume_skb at=tcp_ack+0x1",
        ],
        outcome: "DELIVERED",
    },
    Way {
        events: &[
            "netif_receive_skb eth1 HEAD iif=2",
            "udp_rcv kind=pkt eth1 HEAD iif=2",
            "kfree_skb NO_SOCKET at=__udp4_lib_rcv+0x1 HEAD",
        ],
        outcome: "DROPPED NO_SOCKET",
    },
    Way { events: &["netif_receive_skb eth1 HEAD iif=2"], outcome: "" },
    // Functions alone, and nothing in the header that tells it from the flow's next one.
    Way { events: &["ip_rcv kind=pkt eth1 BARE iif=2", "udp_rcv kind=pkt eth1 BARE iif=2"], outcome: "" },
    Way { events: &["udp_rcv kind=pkt eth1 BARE iif=2"], outcome: "" },
    // Forwarded, and forwarded with another source address.
    Way {
        events: &[
            "netif_receive_skb eth1 HEAD iif=2",
            "ip_forward kind=pkt eth1 HEAD iif=2",
            "net_dev_queue eth0 HEAD iif=2",
            "net_dev_start_xmit eth0 HEAD iif=2",
            "net_dev_xmit eth0",
            "consume_skb at=napi_consume_skb+0x1",
        ],
        outcome: "TRANSMITTED by eth0",
    },
    Way {
        events: &[
            "netif_receive_skb eth1 HEAD iif=2",
            "net_dev_queue eth0 NAT iif=2",
            "net_dev_start_xmit eth0 NAT iif=2",
            "net_dev_xmit eth0",
        ],
        outcome: "TRANSMITTED by eth0",
    },
    Way {
        events: &[
            "netif_receive_skb eth1 HEAD iif=2",
            "net_dev_queue eth0 HEAD iif=2",
            "kfree_skb QDISC_DROP at=__dev_queue_xmit+0x1 HEAD",
        ],
        outcome: "DROPPED QDISC_DROP",
    },
    // From one host to the other, over a veth pair and over loopback.
    Way {
        events: &[
            "net_dev_queue v0 ns=2 HEAD",
            "net_dev_start_xmit v0 ns=2 HEAD",
            "netif_rx v1 ns=3 HEAD",
            "net_dev_xmit v0 ns=2",
            "netif_receive_skb v1 ns=3 HEAD iif=2",
            "skb_copy_datagram_iovec HEAD",
        ],
        outcome: "DELIVERED",
    },
    Way {
        events: &[
            "net_dev_queue lo ns=2 HEAD",
            "net_dev_start_xmit lo ns=2 HEAD",
            "netif_rx_entry lo ns=2 HEAD",
            "netif_rx lo ns=2 HEAD",
            "net_dev_xmit lo ns=2",
            "netif_receive_skb lo ns=2 HEAD iif=1",
            "tcp_probe",
        ],
        outcome: "DELIVERED",
    },
    // Into a tunnel, out of a tunnel, over a bridge.
    Way {
        events: &[
            "net_dev_queue vxlan0 HEAD",
            "net_dev_start_xmit vxlan0 HEAD",
            "net_dev_queue eth0 TUNNEL",
            "net_dev_start_xmit eth0 TUNNEL",
            "net_dev_xmit eth0",
            "net_dev_xmit vxlan0",
            "consume_skb at=napi_consume_skb+0x1",
        ],
        outcome: "TRANSMITTED by eth0",
    },
    Way {
        events: &[
            "netif_receive_skb eth1 TUNNEL iif=2",
            "napi_gro_receive_entry vxlan0 HEAD",
            "netif_receive_skb vxlan0 HEAD iif=2",
            "skb_copy_datagram_iovec HEAD",
        ],
        outcome: "DELIVERED",
    },
    Way {
        events: &[
            "netif_receive_skb eth1 HEAD iif=2",
            "netif_receive_skb_entry br0 HEAD iif=2",
            "netif_receive_skb br0 HEAD iif=2",
            "tcp_probe",
            "consume_skb at=tcp_ack+0x1",
        ],
        outcome: "DELIVERED",
    },
];

/// A packet that is to be made: its way, and which of a few flows it is of.
type Plan = (usize, u16);

/// What is known of a life: address, first and last event, how many, how it ended.
type Known = (u64, u64, u64, u32, String);

/// A packet under way.
struct Packet {
    /// Its way.
    way: &'static Way,
    /// Its number, which its header carries.
    number: usize,
    /// Its flow.
    flow: u16,
    /// Events so far, with their times.
    times: Vec<u64>,
}

impl Packet {
    /// Its next event, as a line.
    fn next(&mut self, skb: usize, now: u64) -> String {
        let (port, id) = (5000 + self.flow, self.number + 1);
        let whole = format!("flow=10.0.0.1:{port}>10.0.1.2:6 l4=tcp id={id} seq={id}");
        let translated = format!("flow=192.0.2.1:{port}>10.0.1.2:6 l4=tcp id={id} seq={id}");
        let around = format!("flow=192.0.2.1:50000>192.0.2.2:4789 l4=udp id={} tunnel=vxlan", 20_000 + id);
        let event = self.way.events[self.times.len()];
        let bare = format!("flow=10.0.0.1:{port}>10.0.1.2:6 l4=udp id=0 ttl=64");
        let event = event.replace("HEAD", &whole).replace("NAT", &translated).replace("TUNNEL", &around);
        let event = event.replace("BARE", &bare);
        self.times.push(now);
        format!("{now} {skb:x} {event}\n")
    }

    /// What its life must be.
    fn known(&self, skb: usize) -> Known {
        let (first, last) = (self.times[0] * 1000, self.times[self.times.len() - 1] * 1000);
        (skb as u64, first, last, self.times.len() as u32, self.way.outcome.to_owned())
    }
}

/// The script of packets whose events are interleaved by `choices`, and the lives that they must be.
fn made(plans: &[Plan], choices: &[Index]) -> (String, Vec<Known>) {
    /// Addresses.
    const ADDRESSES: usize = 5;
    let mut under_way: Vec<Option<Packet>> = (0..ADDRESSES).map(|_| None).collect();
    let (mut script, mut ended, mut left) = (String::new(), Vec::new(), plans.iter().enumerate());
    let mut choices = choices.iter().cycle();
    for now in 10.. {
        let skb = choices.next().unwrap().index(ADDRESSES);
        if under_way[skb].is_none() {
            under_way[skb] = left.next().map(|(number, (way, flow))| Packet {
                way: &WAYS[*way],
                number,
                flow: *flow,
                times: Vec::new(),
            });
        }
        if let Some(packet) = &mut under_way[skb] {
            script += &packet.next(skb + 1, now);
            if packet.times.len() == packet.way.events.len() {
                ended.push(packet.known(skb + 1));
                under_way[skb] = None;
            }
        } else if under_way.iter().all(Option::is_none) {
            break;
        }
    }
    (script, ended)
}

/// The lives that are found.
fn found(script: &str) -> Vec<Known> {
    static KNOWLEDGE: LazyLock<Knowledge> = LazyLock::new(shipped);
    let (losses, script) = (Losses::default(), Script::new(script));
    let mut lives = Lives::new(script.names, &KNOWLEDGE, &losses, Keep::Summary);
    let mut all = Vec::new();
    let mut done =
        |life: &Life<'_>| all.push((life.skb, life.start, life.end, life.count, life.outcome.to_string()));
    for event in script.events() {
        lives.push(&event, &mut done);
    }
    lives.finish(&mut done);
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn each_packet_is_one_life(
        plans in proptest::collection::vec((0..WAYS.len(), 0..3_u16), 1..30),
        choices in proptest::collection::vec(any::<Index>(), 50),
    ) {
        let (script, mut expected) = made(&plans, &choices);
        let mut lives = found(&script);
        expected.sort();
        lives.sort();
        let same = |life: &Known, packet: &Known| {
            (life.0, life.1, life.2, life.3) == (packet.0, packet.1, packet.2, packet.3)
                && life.4.starts_with(&packet.4)
        };
        let all = lives.len() == expected.len()
            && lives.iter().zip(&expected).all(|(life, packet)| same(life, packet));
        prop_assert!(all, "{}\nfound {:#?}\nexpected {:#?}", script, lives, expected);
    }
}

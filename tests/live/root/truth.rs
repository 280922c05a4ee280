//! Lives against the truth: numbered packets over every route, several flows at once.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use lab::numbered::{Amount, Route, send};

use crate::recorder::{Recording, binary, only_with, record};
use crate::support::undisturbed;
use crate::truth::{Figures, Truth, lives};

/// Packets over each route.
const PACKETS: u64 = 100_000;
/// Packets a second, at first; where events are lost it is tried again with half of them.
const RATE: u64 = 25_000;
/// How often it is tried.
const TRIES: u32 = 4;

/// Records numbered packets without losing events.
fn recorded(route: Route, args: &[&str]) -> Recording {
    for attempt in 0..TRIES {
        let hosts = route.build().unwrap();
        let amount = Amount { packets: PACKETS, rate: RATE >> attempt };
        let args = [args, &["--buffer-size", "128M"]].concat();
        let recording = record(&only_with(&hosts.all(), &args), || {
            let sent = send(route, &hosts, amount, &AtomicBool::new(false)).unwrap();
            assert_eq!(sent.requests, sent.answers, "{route:?}: {sent:?}");
        });
        if recording.open().metadata().totals.lost() == 0 {
            return recording;
        }
    }
    panic!("{route:?}: events were lost at {} packets/s, too", RATE >> (TRIES - 1));
}

#[test]
fn no_event_is_joined_to_a_packet_that_it_is_not_of() {
    let Some(_turn) = undisturbed() else { return };
    let ntana = Path::new(binary()).with_file_name("ntana");
    let mut faults = Vec::new();
    eprintln!("{:<11}{}", "profile net", Figures::TITLE);
    for (name, route) in Route::ALL {
        let recording = recorded(route, &["--profile", "net"]);
        let truth = Truth::read(&recording.open());
        let figures = truth.compare(&lives(&ntana, &recording.file));
        eprintln!("{name:<11}{figures}");
        assert!(figures.different > PACKETS / 2, "{name}: the packets are not in the capture");
        faults.extend(figures.faults.iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

//! Losses: each is counted where it happened, and stands in the file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lab::Net;
use lab::traffic;
use ntc::{Capture, Metadata};

use crate::recorder::{Recorder, only, only_with, record};
use crate::rows::{self, gaps, numbers};
use crate::support::{beside_others, flooded, undisturbed};

/// Checks that what was counted was recorded or lost, and that the rows are those that were recorded.
pub fn check_balance(capture: &Capture) {
    let Metadata { totals, .. } = capture.metadata();
    let in_file = rows::counts(capture);
    assert!(!totals.counts.is_empty());
    let mut recorded = BTreeMap::new();
    for count in totals.counts.iter().filter(|count| count.cpu.is_some()) {
        assert_eq!(count.counted, count.recorded + count.lost, "{count:?}");
        if count.recorded > 0 {
            recorded.insert((count.probe.clone(), count.cpu.unwrap() as u16), count.recorded);
        }
    }
    assert_eq!(in_file, recorded);
    assert_eq!(totals.rows, capture.rows());
}

#[test]
fn every_loss_is_counted_and_stands_in_the_file() {
    let Some(_turn) = undisturbed() else { return };
    let host = Net::alone().unwrap();
    let recorder = Recorder::start(&only_with(&[&host], &["--buffer-size", "4096"]));
    let (recording, sent) = flooded(&host, || {
        std::thread::sleep(Duration::from_millis(2500));
        recorder.stop()
    });
    assert!(sent > 1000, "{sent} datagrams are no flood");
    let capture = recording.open();
    check_balance(&capture);
    let totals = &capture.metadata().totals;
    let lost: u64 = totals.counts.iter().map(|count| count.lost).sum();
    assert!(lost > 0);
    assert!(recording.stderr.contains(&format!("{lost} events lost")), "{}", recording.stderr);
    let rows = rows::read(&capture);
    let mut told: BTreeMap<(String, u16), u64> = BTreeMap::new();
    for row in rows.iter().filter(|row| &*row.kind == "loss") {
        *told.entry((row.probe.to_string(), row.cpu)).or_default() +=
            u64::try_from(row.value.unwrap()).unwrap();
    }
    let counted = totals.counts.iter().filter(|count| count.lost > 0);
    let counted = counted.map(|count| ((count.probe.clone(), count.cpu.unwrap() as u16), count.lost));
    assert_eq!(told, counted.collect());
    // Told while it happened, not only at the end.
    let times = rows.iter().filter(|row| &*row.kind == "loss").map(|row| row.ts);
    assert!(times.collect::<std::collections::BTreeSet<_>>().len() > 1);
    // Each number that is missing is a loss; those before the first row and after the last one are missing, too.
    for (cpu, seqs) in numbers(&capture) {
        let of_cpu = totals.counts.iter().filter(|count| count.cpu == Some(cpu.into()));
        let (counted, lost) = of_cpu.fold((0, 0), |sum, count| (sum.0 + count.counted, sum.1 + count.lost));
        assert!(seqs.last().unwrap() < &counted);
        assert_eq!(seqs.len() as u64 + lost, counted, "CPU {cpu}");
    }
}

#[test]
fn events_beyond_the_rate_limit_are_counted_as_lost() {
    let Some(_turn) = undisturbed() else { return };
    let host = Net::alone().unwrap();
    let begun = Instant::now();
    let recorder = Recorder::start(&only_with(&[&host], &["--rate-limit", "200"]));
    let (recording, sent) = flooded(&host, || {
        std::thread::sleep(Duration::from_millis(1500));
        recorder.stop()
    });
    let elapsed = begun.elapsed().as_secs_f64();
    assert!(sent > 1000, "{sent} datagrams are no flood");
    let capture = recording.open();
    check_balance(&capture);
    let totals = &capture.metadata().totals;
    let sum = |of: fn(&ntc::Count) -> u64| totals.counts.iter().map(of).sum::<u64>();
    let (recorded, lost) = (sum(|count| count.recorded), sum(|count| count.lost));
    let cpus = totals.counts.iter().filter_map(|count| count.cpu).max().unwrap() + 1;
    // A tenth of a second's events may come at once.
    let most = f64::from(cpus) * 200.0 * (elapsed + 0.2);
    assert!(recorded > 100 && (recorded as f64) < most, "{recorded} events in {elapsed} s");
    assert!(lost > 1000);
    assert!(
        recording.stderr.contains(&format!("{lost} events left out by --rate-limit")),
        "{}",
        recording.stderr
    );
    assert!(!recording.stderr.contains("buffer was full"), "{}", recording.stderr);
}

#[test]
fn without_loss_the_numbers_of_each_cpu_have_no_gap() {
    let Some(_turn) = beside_others() else { return };
    let net = Net::new().unwrap();
    let recording = record(&only(&[&net.client, &net.router, &net.server]), || {
        traffic::ping(&net.client, net.server.v4(), 20).unwrap();
        traffic::tcp_short(&net.client, &net.server, net.server.at(8001), 50).unwrap();
        traffic::udp_echo(&net.client, &net.server, net.server.at6(7001), 200, 100).unwrap();
    });
    let capture = recording.open();
    check_balance(&capture);
    let totals = &capture.metadata().totals;
    assert_eq!(totals.lost(), 0);
    assert!(!recording.stderr.contains("lost"), "{}", recording.stderr);
    let numbers = numbers(&capture);
    assert_eq!(gaps(&numbers), 0);
    for (cpu, seqs) in numbers {
        let counted = totals.counts.iter().filter(|count| count.cpu == Some(cpu.into()));
        assert_eq!(seqs.first(), Some(&0));
        assert_eq!(seqs.len() as u64, counted.map(|count| count.counted).sum::<u64>());
    }
    let rows = rows::read(&capture);
    assert!(rows.is_sorted_by_key(|row| row.ts), "rows are in the order of time");
}

//! `ntana stats` on captures from scripts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use common::{Lab, MIXED, Output, metadata};
use ntc::schema::COLUMNS;
use serde_json::{Value, json};

/// Runs `ntana stats` on a capture of a script; it must answer without complaint.
fn stats(script: &str, args: &[&str]) -> String {
    let lab = Lab::new();
    lab.capture("host1.ntc", script);
    let Output { code, out, err } = lab.ntana(&[&["stats", "host1.ntc"], args].concat());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

/// The groups of an answer as JSON.
fn groups(script: &str, args: &[&str]) -> Value {
    let out = stats(script, &[args, &["--format", "json"]].concat());
    let mut json: Value = serde_json::from_str(&out).unwrap();
    json["captures"][0]["groups"].take()
}

/// What `ntana stats` complains of.
fn complaint(args: &[&str]) -> String {
    let lab = Lab::new();
    lab.capture("host1.ntc", MIXED);
    let output = lab.ntana(&[&["stats", "host1.ntc"], args].concat());
    assert_eq!((output.code, output.out.as_str()), (2, ""));
    output.err
}

#[test]
fn events_and_bytes_are_counted_by_probe() {
    assert_eq!(
        stats(MIXED, &[]),
        "\
host1.ntc: host host1, kernel 6.18.44
  2025-11-20 19:03:02.000000 to 19:03:12.000000 (+00:00 UTC), 10.00 s, 10 events
      EVENTS  SHARE           BYTES  PROBE
           2  20.0%             212  kfree_skb
           2  20.0%             212  netif_receive_skb
           1  10.0%               -  consume_skb
           1  10.0%               -  icmp_send
           1  10.0%             128  net_dev_queue
           1  10.0%             128  net_dev_start_xmit
           1  10.0%               -  net_dev_xmit
           1  10.0%             128  netif_rx
10 events, 808 bytes
"
    );
}

#[test]
fn any_columns_make_a_group_and_null_is_none_of_their_values() {
    assert_eq!(
        stats(MIXED, &["--by", "netns,daddr,icmp_type"]).lines().skip(2).collect::<Vec<_>>(),
        [
            "      EVENTS  SHARE           BYTES  NETNS   DADDR      ICMP_TYPE",
            "           3  30.0%             384  server  10.77.2.2  -",
            "           2  20.0%             256  client  10.77.2.2  -",
            "           1  10.0%               -  -       -          -",
            "           1  10.0%              84  -       10.77.1.2  -",
            "           1  10.0%               -  -       10.77.2.2  3",
            "           1  10.0%               -  client  -          -",
            "           1  10.0%              84  server  10.77.2.2  8",
            "10 events, 808 bytes",
        ]
    );
}

#[test]
fn json_has_the_names_and_values_of_the_columns() {
    let found = groups(MIXED, &["--by", "skb,ret", "--limit", "2"]);
    let udp = |events: u64, share: f64, bytes: u64| json!({"skb": "ffff888100000700", "events": events, "share": share, "bytes": bytes});
    assert_eq!(found[0], udp(6, 60.0, 640));
    let all = groups(MIXED, &["--by", "skb,ret"]);
    let with_ret = all.as_array().unwrap().iter().find(|group| group["ret"] == 0).unwrap();
    assert_eq!(
        with_ret,
        &json!({"skb": "ffff888100000700", "ret": 0, "events": 1, "share": 10.0, "bytes": null})
    );
}

#[test]
fn csv_has_a_record_a_group() {
    assert_eq!(
        stats(MIXED, &["--by", "comm,l4", "--format", "csv"]),
        "\
host,interval,comm,l4,events,share,bytes,touched_by_loss,others
host1,,,udp,5,50.000,512,,false
host1,,,,2,20.000,,,false
host1,,,icmp,2,20.000,168,,false
host1,,nc,udp,1,10.000,128,,false
"
    );
}

#[test]
fn intervals_begin_with_the_capture_and_come_in_order() {
    let found = groups(MIXED, &["--interval", "1ms"]);
    let interval = |ms: u64, events: u64, bytes: u64| {
        json!({"interval": common::START + ms * 1_000_000, "touched_by_loss": false, "events": events,
               "share": events as f64 * 10.0, "bytes": bytes})
    };
    assert_eq!(found, json!([interval(0, 7, 640), interval(2, 2, 84), interval(3, 1, 84)]));
    let text = stats(MIXED, &["--interval", "2ms", "--by", "l4"]);
    assert_eq!(
        text.lines().skip(2).collect::<Vec<_>>(),
        [
            "      EVENTS  SHARE           BYTES  FROM             L4",
            "           6  60.0%             640  19:03:02.000000  udp",
            "           1  10.0%               -  19:03:02.000000  -",
            "           2  20.0%             168  19:03:02.002000  icmp",
            "           1  10.0%               -  19:03:02.002000  -",
            "10 events, 808 bytes",
        ]
    );
}

#[test]
fn intervals_in_which_events_were_lost_say_so_and_the_recorders_own_rows_do_not_count() {
    let lab = Lab::new();
    let script = "100 probe=netif_rx skb=ffff888100000700 len=60\n\
                  1500 kind=clock name=REALTIME value=5 span=3\n\
                  2500 probe=netif_rx kind=loss value=7 span=200000\n\
                  2600 probe=netif_rx skb=ffff888100000700 len=60\n";
    let lost = ntc::Count { probe: "netif_rx".into(), cpu: Some(0), lost: 7, ..ntc::Count::default() };
    let totals = ntc::Totals { counts: vec![lost], ..ntc::Totals::default() };
    common::write(&lab.path("host1.ntc"), ntc::Metadata { totals, ..metadata("host1") }, script);
    let out = lab.ntana(&["stats", "host1.ntc", "--interval", "1ms", "--time", "rel"]).out;
    assert_eq!(
        out.lines().skip(2).collect::<Vec<_>>(),
        [
            "  ! 7 events were lost while recording: what is missing here may have happened",
            "      EVENTS  SHARE           BYTES  FROM",
            "           1  50.0%              60  0.000000",
            "           1  50.0%              60  0.002000  ! events were lost",
            "2 events, 120 bytes; 2 rows of the recorder's own left out (kinds clock and loss)",
        ]
    );
}

#[test]
fn filters_choose_what_is_counted() {
    let found = groups(MIXED, &["--by", "dev", "--proto", "udp"]);
    let dev = |dev: Value, events: u64, share: f64, bytes: Value| json!({"dev": dev, "events": events, "share": share, "bytes": bytes});
    assert_eq!(
        found,
        json!([
            dev("veth1".into(), 3, 50.0, 384.into()),
            dev("veth0".into(), 2, 200.0 / 6.0, 256.into()),
            json!({"events": 1, "share": 100.0 / 6.0, "bytes": null}),
        ])
    );
    assert_eq!(groups(MIXED, &["icmp"]).as_array().unwrap().len(), 2);
}

#[test]
fn groups_beyond_the_bound_are_counted_together() {
    let event = |number: u32| format!("{number} probe=netif_rx skb={number:x}1 len=10\n");
    let script: String = (0..66_000).map(event).collect();
    let out = stats(&script, &["--by", "skb", "--format", "json"]);
    let json: Value = serde_json::from_str(&out).unwrap();
    let capture = &json["captures"][0];
    assert_eq!((&capture["events"], &capture["bytes"]), (&66_000.into(), &660_000.into()));
    assert_eq!((&capture["different"], &capture["different_at_least"]), (&65_537.into(), &true.into()));
    let last = capture["groups"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last,
        &json!({"others": true, "events": 464, "share": 464.0 * 100.0 / 66_000.0, "bytes": 4_640})
    );
    let text = stats(&script, &["--by", "skb", "--limit", "1"]);
    assert!(
        text.ends_with("66,000 events, 660,000 bytes; at least 65,536 groups not shown (--limit)\n"),
        "{text}"
    );
}

#[test]
fn every_column_but_raw_bytes_can_be_counted_by() {
    let columns: Vec<&str> =
        COLUMNS.iter().map(|column| column.name).filter(|name| *name != "header").collect();
    let found = groups(MIXED, &["--by", &columns.join(",")]);
    assert_eq!(found.as_array().unwrap().len(), 10, "each event has a time of its own");
    let first = &found.as_array().unwrap().iter().find(|group| group["probe"] == "net_dev_queue").unwrap();
    let expected = json!({
        "ts": common::START + 100_000, "cpu": 0, "kind": "pkt", "probe": "net_dev_queue", "pid": 42, "comm": "nc",
        "ctx": "task", "skb": "ffff888100000700", "netns": 4_026_532_001_u32, "ifindex": 2, "dev": "veth0", "len": 128,
        "saddr": "10.77.1.2", "daddr": "10.77.2.2", "l4": "udp", "sport": 40001, "dport": 5999, "ip_id": 7,
        "events": 1, "share": 10.0, "bytes": 128,
    });
    assert_eq!(*first, &expected);
}

#[test]
fn several_captures_are_counted_one_by_one_and_summed() {
    let lab = Lab::new();
    lab.capture("a.ntc", MIXED).capture("b.ntc", "5 probe=netif_rx skb=ffff888100000700\n");
    let out = lab.ntana(&["stats", "a.ntc", "b.ntc"]).out;
    assert!(
        out.contains("b.ntc: host b") && out.ends_with("\nall: 11 events, 808 bytes in 2 captures\n"),
        "{out}"
    );
    let json = lab.ntana(&["stats", "a.ntc", "b.ntc", "--format", "json"]).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["totals"], json!({"captures": 2, "events": 11, "bytes": 808}));
}

#[test]
fn what_cannot_be_counted_by_is_refused_in_a_sentence() {
    assert_eq!(
        complaint(&["--by", "probe,sadr"]),
        "ntana: there is no column `sadr`; nearest to it: saddr, daddr\n"
    );
    assert_eq!(complaint(&["--by", "xyzzy"]), "ntana: there is no column `xyzzy`: FORMAT.md lists them\n");
    assert_eq!(
        complaint(&["--by", "header"]),
        "ntana: the column `header` holds raw bytes, by which nothing is counted\n"
    );
    assert_eq!(
        complaint(&["--interval", "0s"]),
        "ntana: --interval 0 is no interval: give a time such as 1s\n"
    );
    assert_eq!(
        complaint(&["--outcome", "dropped"]),
        "ntana: --outcome is about lives, not events: use `ntana trace`\n"
    );
}

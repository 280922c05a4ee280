//! Each query of COOKBOOK.md, on the captures that its first line names. `NTREC_BLESS=1` rewrites the expected rows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

#[path = "../../analyzer/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Lab, metadata};

/// What no fixture has: retransmissions, SYNs that are sent again, measured round-trip times, and losses.
const MADE: &str = "\
1000 probe=tcp_retransmit_skb sk=7 saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443 l4=tcp
201000 probe=tcp_retransmit_skb sk=7 saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443 l4=tcp
205000 probe=tcp_retransmit_skb sk=8 saddr=10.0.0.1 sport=40001 daddr=10.0.0.3 dport=80 l4=tcp
601000 probe=tcp_retransmit_skb sk=7 saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443 l4=tcp
700000 probe=tcp_ack_update_rtt sk=7 saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443 l4=tcp rtt=1500 srtt=2000
700100 probe=tcp_ack_update_rtt sk=7 saddr=10.0.0.1 sport=40000 daddr=10.0.0.2 dport=443 l4=tcp rtt=900 srtt=1800
700200 probe=net_dev_queue skb=b00 netns=7 dev=eth0 len=60 saddr=10.0.0.1 sport=40002 daddr=10.0.0.4 dport=22 l4=tcp tcp_flags=S
700300 probe=net_dev_queue skb=c00 netns=7 dev=eth0 len=60 saddr=10.0.0.1 sport=40003 daddr=10.0.0.5 dport=22 l4=tcp tcp_flags=S
800000 probe=net_dev_queue kind=loss value=40 span=5000000
900000 probe=net_dev_queue kind=loss value=2 span=1000000
900001 probe=netif_rx kind=loss value=7 span=1000
1740200 probe=net_dev_queue skb=d00 netns=7 dev=eth0 len=60 saddr=10.0.0.1 sport=40002 daddr=10.0.0.4 dport=22 l4=tcp tcp_flags=S
3788200 probe=net_dev_queue skb=e00 netns=7 dev=eth0 len=60 saddr=10.0.0.1 sport=40002 daddr=10.0.0.4 dport=22 l4=tcp tcp_flags=S
";

/// A query of the page.
struct Recipe<'p> {
    /// Its number and title.
    title: &'p str,
    /// The captures that it is asked of.
    captures: Vec<&'p str>,
    /// The query.
    sql: &'p str,
}

/// The queries of a page.
fn recipes(page: &str) -> Vec<Recipe<'_>> {
    page.split("\n### ").skip(1).map(recipe).collect()
}

/// The query of a section.
fn recipe(section: &str) -> Recipe<'_> {
    let title = section.lines().next().unwrap();
    let (_, rest) = section.split_once("```sql\n").unwrap_or_else(|| panic!("no query: {title}"));
    let (query, _) = rest.split_once("\n```").unwrap();
    let (captures, sql) = query.split_once('\n').unwrap();
    let captures = captures.strip_prefix("-- ").unwrap_or_else(|| panic!("no captures: {title}"));
    Recipe { title, captures: captures.split(' ').collect(), sql }
}

/// A folder in which the captures of the page have the names that they have there.
fn lab(root: &Path) -> Lab {
    let lab = Lab::new();
    common::write(&lab.path("made.ntc"), metadata("made"), MADE);
    std::os::unix::fs::symlink(root.join("fixtures"), lab.path("fixtures")).unwrap();
    lab
}

/// Where the rows of a recipe stand.
fn expected(recipe: &Recipe<'_>) -> PathBuf {
    let (number, words) = recipe.title.split_once(". ").unwrap();
    let words: String =
        words.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let name = format!("{number:0>2}-{}.csv", words.trim_matches('-').replace("--", "-"));
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cookbook").join(name)
}

#[test]
fn every_query_of_the_cookbook_gives_its_rows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("COOKBOOK.md")).unwrap();
    let recipes = recipes(&page);
    assert!(recipes.len() >= 25, "{}", recipes.len());
    let lab = lab(root);
    let mut wrong = Vec::new();
    for recipe in &recipes {
        let args = [&[recipe.sql], &recipe.captures[..], &["--format", "csv"]].concat();
        let mut command = assert_cmd::Command::cargo_bin("ntana-query").unwrap();
        let output = command.current_dir(lab.path("")).args(args).output().unwrap();
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() || !err.is_empty() {
            wrong.push(format!("{}: {err}", recipe.title));
            continue;
        }
        if let Err(differs) = harness::compare(&expected(recipe), &out) {
            wrong.push(format!("{}:\n{differs}", recipe.title));
        }
        assert!(out.lines().count() > 1, "{} has no rows", recipe.title);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

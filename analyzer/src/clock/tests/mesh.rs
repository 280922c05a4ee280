use super::super::{Edge, Mesh, Order, Quality, Stability, Wall};
use super::random::contains;
use super::simulation::{Dice, Network, SECOND};

/// A host's clock: each is 1 ms ahead of the one before, and runs 10 ppm faster.
fn clock(host: usize, t: f64) -> i64 {
    (t + host as f64 * (1e6 + t * 1e-5)) as i64
}

/// A minute of messages between two hosts.
fn edge(a: usize, b: usize, network: Network, rate: f64) -> Edge {
    let pair = network.pair(
        &mut Dice(10 * a as u64 + b as u64),
        [&|t| clock(a, t), &|t| clock(b, t)],
        60.0 * SECOND,
        rate,
    );
    Edge { a, b, offset: pair.offset(Stability::RAW, &Wall::default()).unwrap() }
}

#[test]
fn a_way_over_hosts_adds_their_intervals() {
    let mesh = Mesh::new(
        4,
        vec![edge(1, 0, Network::LAN, 50.0), edge(1, 2, Network::LAN, 50.0), edge(3, 2, Network::LAN, 50.0)],
    );
    for t in [10.0, 30.0, 50.0].map(|t| t * SECOND) {
        for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))) {
            let found = mesh.convert(from, to, clock(from, t)).unwrap();
            assert!(contains(&found, clock(to, t)), "{from} to {to}: {found:?}");
            let hops = from.abs_diff(to) as i64;
            assert!(
                (80_000 * hops..90_000 * hops + 1).contains(&found.width().unwrap()),
                "{from} to {to}: {found:?}"
            );
        }
    }
    assert_eq!(mesh.quality(0, 3), Quality::Accurate);
    assert_eq!(mesh.loops(), []);
}

#[test]
fn the_narrowest_pairs_make_the_tree_and_the_others_are_checked_against_it() {
    let far = Network { least: [900e3; 2], ..Network::LAN };
    let mesh = Mesh::new(
        3,
        vec![edge(0, 2, far, 50.0), edge(0, 1, Network::LAN, 50.0), edge(1, 2, Network::LAN, 50.0)],
    );
    assert!(mesh.convert(0, 2, clock(0, 30.0 * SECOND)).unwrap().width().unwrap() < 180_000);
    let [checked] = mesh.loops()[..] else { panic!("one loop") };
    assert_eq!((checked.a, checked.b, checked.violation), (0, 2, 0));
    assert!(checked.closure.abs() < 50_000, "{checked:?}");
}

#[test]
fn a_loop_that_does_not_close_is_reported() {
    // Messages of host 3 are taken for those of host 2, whose clock is 1 ms behind.
    let mismatched = Edge { b: 2, ..edge(0, 3, Network { least: [100e3; 2], ..Network::LAN }, 50.0) };
    let edges = vec![edge(0, 1, Network::LAN, 50.0), edge(1, 2, Network::LAN, 50.0), mismatched];
    let [checked] = Mesh::new(3, edges).loops()[..] else { panic!("one loop") };
    assert_eq!((checked.a, checked.b), (0, 2));
    assert!((800_000..1_600_000).contains(&checked.violation), "{checked:?}");
    assert!((1_000_000..1_700_000).contains(&checked.closure), "{checked:?}");
}

#[test]
fn an_asymmetric_way_is_within_the_bounds_of_a_loop() {
    let asymmetric = Network { least: [40e3, 400e3], ..Network::LAN };
    let mesh = Mesh::new(
        3,
        vec![edge(0, 1, Network::LAN, 50.0), edge(1, 2, Network::LAN, 50.0), edge(0, 2, asymmetric, 50.0)],
    );
    let [checked] = mesh.loops()[..] else { panic!("one loop") };
    assert_eq!(checked.violation, 0);
    assert!((170_000..190_000).contains(&checked.closure.abs()), "{checked:?}");
}

#[test]
fn events_are_ordered_where_intervals_tell() {
    let mesh = Mesh::new(3, vec![edge(0, 1, Network::LAN, 50.0)]);
    let t = 30.0 * SECOND;
    let order = |later: f64| mesh.order((0, clock(0, t)), (1, clock(1, t + later)));
    assert_eq!(order(100e3), Order::Before);
    assert_eq!(order(10e3), Order::Undecided);
    assert_eq!(order(-100e3), Order::After);
    assert_eq!(mesh.order((1, 5), (1, 6)), Order::Before);
    assert_eq!(mesh.order((0, 5), (2, 1_000_000_000_000)), Order::Undecided);
    assert_eq!((mesh.quality(0, 2), mesh.convert(0, 2, 5)), (Quality::Absent, None));
}

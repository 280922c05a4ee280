//! A packet's way through the stages of a model: its sightings become passes, each from its first stage to its last.
//!
//! | the pass is at | the sighting shows | then |
//! |---|---|---|
//! | a stage | a later one | the packet is there: a leg ends and the next begins |
//! | a stage | the same or an earlier one, by a function | nothing: what counts is the first time there |
//! | a stage | the same again by another probe on the same device | nothing: two probes show one arrival |
//! | a stage | the same or an earlier one between device and host, or the first one | the packet begins the way anew |
//! | any | that it left what the model is within | the pass ends |
//! | the last recorded stage | | the pass is complete |
//!
//! A packet on its way in stays in its host until it is queued to be sent, so that there, where a bridge or a VLAN receives
//! it again, it does not begin anew.

use super::model::{Model, Part};
use crate::knowledge::Within;
use crate::lifecycle::{Sighting, moves};

/// A packet at a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// The stage's number in its model.
    pub stage: u8,
    /// Where it was seen first.
    pub seen: Sighting<'a>,
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// At the last recorded stage.
    Complete,
    /// The packet went another way, or began anew.
    Elsewhere,
    /// The life ended, or has more that no probe of the model shows.
    WithLife,
}

/// A way that packets are taken.
#[derive(Clone, Copy, Debug)]
pub struct Walk<'m> {
    /// The model.
    pub model: &'m Model,
    /// The part of it.
    pub part: Part,
    /// What the packet may not leave.
    pub within: Within,
}

impl<'m> Walk<'m> {
    /// The way of a model's packet, or of the packet that is answered.
    pub fn of(model: &'m Model) -> Self {
        Self { model, part: model.sent, within: model.within }
    }

    /// Calls `each` for the passes of a packet. `steps` is room that is used again.
    pub fn passes<'s, 'a: 's>(
        self,
        sightings: impl Iterator<Item = &'s Sighting<'a>>,
        steps: &mut Vec<Step<'a>>,
        mut each: impl FnMut(&[Step<'a>], Stopped),
    ) {
        steps.clear();
        let mut before = None;
        for seen in sightings {
            if !steps.is_empty() && self.within.is_left_by(seen.effect) {
                each(steps, Stopped::Elsewhere);
                steps.clear();
            }
            let at = steps.last().map(|step| step.stage);
            let Some(stage) = self.model.stage_of(seen, self.part, at) else { continue };
            if at.is_none() && !self.may_begin(stage) {
                continue;
            }
            match at {
                Some(at) if stage > at => {}
                Some(_) if self.within != Within::Receiving && self.begins_anew((stage, seen), before) => {
                    each(steps, Stopped::Elsewhere);
                    steps.clear();
                    if !self.may_begin(stage) {
                        continue;
                    }
                }
                None if self.begins_anew((stage, seen), before) => {}
                _ => continue,
            }
            steps.push(Step { stage, seen: *seen });
            before = Some((stage, seen));
            if stage == self.part.last {
                each(steps, Stopped::Complete);
                steps.clear();
            }
        }
        if !steps.is_empty() {
            each(steps, Stopped::WithLife);
        }
    }

    /// Whether a pass may begin at a stage.
    fn may_begin(self, stage: u8) -> bool {
        !self.model.entire || stage == self.part.first
    }

    /// Whether a packet that is seen at a stage begins a pass, behind where it was seen before.
    fn begins_anew(self, (stage, seen): (u8, &Sighting<'_>), before: Option<(u8, &Sighting<'_>)>) -> bool {
        let Some((stage_before, seen_before)) = before else { return true };
        let same_arrival = stage_before == stage
            && seen_before.at == seen.at
            && seen_before.asked != seen.asked
            && self.model.stages[usize::from(stage)].probes.len() > 1;
        !same_arrival && (stage == self.part.first || moves(seen.effect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::tests::shipped;
    use crate::lifecycle::{Keep, Life, Lives};
    use crate::loss::Losses;
    use crate::script::Script;

    /// The passes of all packets of a script through a model, as text: `receive 10, ip-in 13: Complete`.
    fn walked(model: &str, script: &str) -> Vec<String> {
        let knowledge = shipped();
        let row = knowledge.models().iter().find(|row| row.name == model).unwrap();
        let mut probes = crate::probes::Probes::default();
        let mut model = Model::of(row, &knowledge, &ntc::Metadata::default()).unwrap();
        model.ask(&mut probes);
        let script = Script::asking(script, &probes);
        let losses = Losses::from_intervals(Vec::new(), 0);
        let mut lives = Lives::new(script.names, &knowledge, &losses, Keep::Sightings);
        let mut found = Vec::new();
        let mut each = |life: &Life<'_>| {
            Walk::of(&model).passes(life.sightings.iter(), &mut Vec::new(), |steps, stopped| {
                let name = |step: &Step<'_>| &model.stages[usize::from(step.stage)].name;
                let steps = steps.iter().map(|step| format!("{} {}", name(step), step.seen.ts / 1000));
                found.push(format!("{}: {stopped:?}", steps.collect::<Vec<_>>().join(", ")));
            });
        };
        script.events().for_each(|event| lives.push(&event, &mut each));
        lives.finish(&mut each);
        found
    }

    #[test]
    fn a_packet_is_at_a_stage_from_the_first_probe_on_that_shows_it_there() {
        let found = walked(
            "out",
            "10 7 __ip_queue_xmit flow=10.0.0.1:1>10.0.0.2:2
             12 7 __ip_local_out
             15 7 ip_output veth0
             20 7 __dev_queue_xmit veth0
             21 7 net_dev_queue veth0
             30 7 dev_hard_start_xmit veth0
             31 7 net_dev_start_xmit veth0",
        );
        assert_eq!(found, ["ip-send 10, ip-out 15, queue 20, device 30: Complete"]);
    }

    #[test]
    fn a_packet_that_passes_two_hosts_has_a_pass_in_each() {
        let found = walked(
            "in",
            "10 7 netif_receive_skb left flow=10.0.0.1:1>10.0.0.2:2 iif=2
             11 7 ip_rcv left iif=2
             20 7 net_dev_queue right iif=2
             21 7 net_dev_start_xmit right iif=2
             30 7 netif_rx eth0 ns=2
             31 7 netif_receive_skb eth0 ns=2 iif=3
             32 7 ip_rcv eth0 ns=2 iif=3
             40 7 udp_rcv eth0 ns=2 iif=3",
        );
        let expected = [
            "receive 10, ip-in 11: Elsewhere",
            "backlog 30, receive 31, ip-in 32, transport-in 40: WithLife",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_bridge_receives_a_packet_that_is_on_its_way_in_already() {
        let found = walked(
            "rx-queue",
            "10 7 netif_receive_skb eth0 flow=10.0.0.1:1>10.0.0.2:2 iif=2
             15 7 netif_receive_skb br0 iif=2
             30 7 __udp_enqueue_schedule_skb br0 iif=2",
        );
        assert_eq!(found, ["receive 10, socket 30: Complete"]);
    }

    #[test]
    fn what_a_driver_gets_again_begins_anew() {
        let found = walked(
            "qdisc",
            "10 7 net_dev_queue vlan0 flow=10.0.0.1:1>10.0.0.2:2
             12 7 net_dev_start_xmit vlan0
             13 7 net_dev_queue eth0
             19 7 net_dev_start_xmit eth0",
        );
        assert_eq!(found, ["queue 10, device 12: Complete", "queue 13, device 19: Complete"]);
    }
}

#!/usr/bin/env python3
"""truth.py PLAN FOLDER: what became of each packet, of what hosts and wire left, into FOLDER/truth.json.

Complains, with exit status 1, where their counts contradict each other: then the capture's truth is not known.
"""

import json
import sys

from plans import PLANS, name


def load(path):
    """Reads JSON."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def on_wire(frames, flow, verdict, back=False):
    """Numbers of a flow's packets to which this was done on the wire."""
    fits = (f for f in frames if f.get("flow") == name(flow) and f["verdict"] == verdict and f["back"] == back)
    return sorted(frame["number"] for frame in fits)


def truth_of(plan, flow, hosts, frames):
    """What is known of a flow."""
    drops = [drop for drop in plan["drops"] if drop["flow"] == name(flow)]
    truth = {"flow": name(flow), "protocol": flow["kind"] + ("6" if flow.get("v6") else "")}
    truth |= {key: flow[key] for key in ("from", "to", "port", "size", "equal", "df") if key in flow}
    for side in (flow["from"], flow["to"]):
        truth |= hosts[side]["flows"].get(name(flow), {})
    truth["dropped"] = {drop["at"]: drop["numbers"] for drop in drops}
    truth["wire"] = {verdict: on_wire(frames, flow, verdict) for verdict in ("lose", "double", "hold")}
    truth["wire_back"] = {"lose": on_wire(frames, flow, "lose", back=True)}
    return truth


def arrived(truth):
    """Numbers of datagrams that should have come, those doubled twice."""
    gone = set(truth["wire"]["lose"]).union(*truth["dropped"].values())
    left = [number for number in range(truth["sent"]) if number not in gone]
    return sorted(left + [number for number in truth["wire"]["double"] if number in left])


def answers(truth):
    """Numbers of pings that should have been answered."""
    gone = set(truth["wire"]["lose"] + truth["wire_back"]["lose"]).union(*truth["dropped"].values())
    return [number for number in range(1, truth["sent"] + 1) if number not in gone]


def complaints(plan, truths, hosts):
    """Where counts contradict each other."""
    for drop in plan["drops"]:
        counted = hosts[drop["at"]]["dropped"][drop["flow"]]
        if counted != len(drop["numbers"]):
            yield f"{drop['at']} dropped {counted} packets of {drop['flow']}, not {len(drop['numbers'])}"
    for truth in truths:
        if "received" in truth:
            expected, found = arrived(truth), sorted(truth["received"])
            if len(expected) != len(found) or (not truth.get("equal") and expected != found):
                yield f"{truth['flow']}: {found} arrived, not {expected}"
        if "answered" in truth and answers(truth) != sorted(truth["answered"]):
            yield f"{truth['flow']}: {truth['answered']} were answered, not {answers(truth)}"
        if not all(rule in truth["wire"]["lose"] for rule in expected_losses(plan, truth)):
            yield f"{truth['flow']}: the wire lost {truth['wire']['lose']} only"


def expected_losses(plan, truth):
    """Numbers that the wire was to lose."""
    rules = [r for r in plan["wire"] if r["flow"] == truth["flow"] and r["act"] == "lose" and not r.get("back")]
    return [number for rule in rules for number in rule["numbers"]]


def main(plan, folder):
    """Writes the truth, or complains."""
    plan, hosts = PLANS[plan], {}
    for host in plan["hosts"]:
        hosts[host] = load(f"{folder}/{host}.json")
    frames = load(f"{folder}/wire.json")["frames"]
    truths = [truth_of(plan, flow, hosts, frames) for flow in plan["flows"]]
    with open(f"{folder}/truth.json", "w", encoding="utf-8") as out:
        out.write('{"flows": [\n' + ",\n".join(map(json.dumps, truths)) + "\n]}\n")
    found = list(complaints(plan, truths, hosts))
    sys.exit("\n".join(found) or 0)


if __name__ == "__main__":
    main(*sys.argv[1:])

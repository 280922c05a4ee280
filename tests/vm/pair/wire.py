#!/usr/bin/env python3
"""wire.py PLAN FILE NEAR FAR: joins two guests' network cards and does to their packets what the plan says.

NEAR is the socket of the guest that listens (scripts/guest --net NEAR --listen), FAR the one that is made here for the other.
Ends when both guests have, and writes what it did to FILE: {"frames": [...]}, each with its flow, number, verdict and times
(ns of this machine's CLOCK_MONOTONIC).
"""

import heapq
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter

from plans import PLANS

MS = 1_000_000  # ns
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
ECHO = {(ICMP, 8): False, (ICMP, 0): True, (ICMP6, 128): False, (ICMP6, 129): True}  # type -> is it an answer?


def transport(frame):
    """Protocol, and header and payload of the transport; None of what is no IP, or a later fragment."""
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    if ethertype == 0x0800:
        length, place = struct.unpack_from("!HxxH", frame, 16)
        return None if place & 0x1FFF else (frame[23], frame[14 + (frame[14] & 15) * 4 : 14 + length])
    if ethertype == 0x86DD and frame[20] != 44:
        return frame[20], frame[54 : 54 + struct.unpack_from("!H", frame, 18)[0]]
    return None


class Numbers:
    """Tells which packet of which flow a frame is."""

    def __init__(self, plan):
        self.flows = {(flow["kind"], flow["port"]): flow for flow in plan["flows"]}
        self.seen = Counter()

    def place(self, key):
        """How many came before."""
        self.seen[key] += 1
        return self.seen[key] - 1

    def find(self, kind, port, back, number=None):
        """The flow's name, the number, and whether it goes back; {} if it is of no flow."""
        if (kind, port) not in self.flows:
            return {}
        number = self.place((kind, port, back)) if number is None else number
        return {"flow": f"{kind}-{port}", "back": back, "number": number}

    def of(self, frame):
        """What a frame is."""
        protocol, bytes_ = transport(frame) or (None, b"")
        if protocol == UDP:
            port = struct.unpack_from("!H", bytes_, 2)[0]
            numbered = ("udp", port) in self.flows and not self.flows["udp", port].get("equal")
            return self.find("udp", port, False, struct.unpack_from("!I", bytes_, 8)[0] if numbered else None)
        if protocol in (ICMP, ICMP6) and (protocol, bytes_[0]) in ECHO:
            identifier, number = struct.unpack_from("!HH", bytes_, 4)
            return self.find("ping", identifier, ECHO[protocol, bytes_[0]], number)
        return self.of_tcp(bytes_) if protocol == TCP else {}

    def of_tcp(self, segment):
        """A segment: numbered are those with data there, and all that come back."""
        source, destination, sequence, _, offset = struct.unpack_from("!HHIIB", segment)
        back = ("tcp", source) in self.flows
        length = len(segment) - (offset >> 4) * 4
        if not back and not length:
            return {}
        found = self.find("tcp", source if back else destination, back)
        return {**found, "seq": sequence, "bytes": length} if found else {}


class Wire:
    """Two ends, and frames on their way between them."""

    def __init__(self, plan, ends):
        self.rules, self.delays = plan["wire"], plan["delays"]
        self.ends, self.numbers = ends, Numbers(plan)
        self.changed, self.queue, self.frames = threading.Condition(), [], []
        self.free, self.open = [0, 0], 2

    def rule(self, what):
        """The rule for a packet."""
        fits = (
            rule
            for rule in self.rules
            if rule["flow"] == what.get("flow") and rule.get("back", False) == what["back"]
        )
        return next((rule for rule in fits if what["number"] in rule["numbers"]), {"act": "pass"})

    def come(self, end, frame):
        """A frame came from an end: 0 is near, 1 far."""
        now, what = time.monotonic_ns(), self.numbers.of(frame)
        rule = self.rule(what)
        note = {**what, "from": end, "length": len(frame), "in": now, "verdict": rule["act"], "out": []}
        self.frames.append(note)
        due = now + self.delays["back" if end else "there"] * MS
        if rule["act"] == "hold":
            self.send(due + rule["ms"] * MS, 1 - end, frame, note)
        elif rule["act"] != "lose":
            due = self.free[end] = max(due, self.free[end])
            self.send(due, 1 - end, frame, note)
        if rule["act"] == "double":
            self.send(due + rule["ms"] * MS, 1 - end, frame, note)

    def send(self, due, end, frame, note):
        """Sends a frame when it is due."""
        heapq.heappush(self.queue, (due, len(self.frames), len(self.queue), end, frame, note))

    def read(self, end):
        """Takes all frames of an end."""
        stream = self.ends[end].makefile("rb")
        try:
            while len(head := stream.read(4)) == 4:
                frame = stream.read(struct.unpack("!I", head)[0])
                with self.changed:
                    self.come(end, frame)
                    self.changed.notify()
        except ConnectionError:  # that guest has ended, as well as by the end of what it sends
            pass
        with self.changed:
            self.open -= 1
            self.changed.notify()

    def next(self):
        """The next frame that is due; None when both guests have ended."""
        with self.changed:
            while self.open:
                wait = (self.queue[0][0] - time.monotonic_ns()) / 1e9 if self.queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self.queue)
                self.changed.wait(wait)
        return None

    def run(self):
        """Passes frames on until both guests have ended."""
        for end in (0, 1):
            threading.Thread(target=self.read, args=(end,), daemon=True).start()
        while due := self.next():
            *_, end, frame, note = due
            try:
                self.ends[end].sendall(struct.pack("!I", len(frame)) + frame)
                note["out"].append(time.monotonic_ns())
            except OSError:  # that guest has ended
                pass


def join(near, far):
    """Connections to both guests."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(far)
    listener.listen(1)
    end = socket.socket(socket.AF_UNIX)
    while end.connect_ex(near):
        time.sleep(0.05)
    return [end, listener.accept()[0]]


def main(plan, file, near, far):
    """Is the wire until both guests have ended."""
    wire = Wire(PLANS[plan], join(near, far))
    wire.run()
    with open(file, "w", encoding="utf-8") as out:
        json.dump({"frames": wire.frames}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])

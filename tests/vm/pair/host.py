#!/usr/bin/env python3
"""host.py PLAN NAME FOLDER RECORDER [ARGUMENT...]: one of several guests, with a recorder beside what it sends and gets.

The guests wait for each other by files in FOLDER, which all of them see, so that nothing but the plan's packets crosses their
network. Leaves NAME.ntc, the capture, and NAME.json, what this host knows: what it sent, what its programs received, and what
its rules dropped.
"""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

from plans import PLANS, flow_of, name

PATIENCE = 300  # seconds that guests wait for each other
GAP = 0.005  # seconds between datagrams
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, ALWAYS = 10, 23, 2  # linux/in.h, linux/in6.h
TCP_INFO_TOTAL_RETRANS = 100  # its offset in struct tcp_info


def run(command, text=None):
    """Runs a command and returns what it says."""
    done = subprocess.run(command.split(), input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"`{command}` failed: {done.stdout}{done.stderr}")
    return done.stdout


class Host:
    """This guest."""

    def __init__(self, plan, own, folder):
        self.plan, self.own, self.folder, self.met = plan, own, folder, 0
        self.flows = {}

    def meet(self):
        """Waits until all guests are here."""
        self.met += 1
        files = [f"{self.folder}/met-{self.met}-{other}" for other in self.plan["hosts"]]
        with open(f"{self.folder}/met-{self.met}-{self.own}", "w", encoding="utf-8"):
            pass
        until = time.monotonic() + PATIENCE
        while not all(map(os.path.exists, files)):
            if time.monotonic() > until:
                sys.exit(f"{self.own}: not all of {', '.join(self.plan['hosts'])} came to meeting {self.met}")
            time.sleep(0.02)

    def address(self, flow):
        """Where a flow's packets go."""
        return self.plan["hosts"][flow["to"]]["eth0"][flow.get("v6", False)]

    def set_up(self):
        """Addresses, routes and rules."""
        place = dict(self.plan["hosts"][self.own])
        gateways = place.pop("via", ())
        for device, (v4, v6) in place.items():
            run(f"ip link set {device} up")
            run(f"ip addr add {v4}/24 dev {device}")
            run(f"ip addr add {v6}/64 dev {device} nodad")
        for family, gateway in zip(("-4", "-6"), gateways):
            run(f"ip {family} route add default via {gateway}")
        if len(place) > 1:
            run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        run("nft -f -", rules(self.plan, self.own))

    def play(self, flow):
        """This host's part in a flow: the receiver is there before the sender begins."""
        kind = {"udp": (send_udp, Receiver), "tcp": (ask_tcp, Server), "ping": (ping, None)}
        send, receive = kind[flow["kind"]]
        there = receive(flow) if receive and self.own == flow["to"] else None
        self.meet()
        if self.own == flow["from"]:
            self.flows[name(flow)] = send(flow, self.address(flow))
        self.meet()
        if there:
            self.flows[name(flow)] = there.end()


def matches(flow, numbers):
    """The expression of nftables for packets of a flow with these numbers."""
    numbers = ", ".join(map(str, numbers))
    if flow["kind"] == "ping":
        icmp = "icmpv6" if flow.get("v6") else "icmp"
        return f"{icmp} id {flow['port']} {icmp} type echo-request {icmp} sequence {{ {numbers} }}"
    return f"udp dport {flow['port']} @th,64,32 {{ {numbers} }}"


def rules(plan, own):
    """What nftables does in a host: a chain for what it sends, gets and passes on."""
    chains = {"output": "", "input": "", "forward": ""}
    for drop in plan["drops"]:
        flow = flow_of(plan, drop["flow"])
        hook = {flow["from"]: "output", flow["to"]: "input"}.get(own, "forward")
        if drop["at"] == own:
            chains[hook] += f'{matches(flow, drop["numbers"])} counter drop comment "{drop["flow"]}"\n'
    text = "".join(
        f"chain {hook} {{\ntype filter hook {hook} priority 0\n{body}}}\n" for hook, body in chains.items()
    )
    if "masquerade" in plan and len(plan["hosts"][own]) > 1 and "via" not in plan["hosts"][own]:
        text += "chain nat {\ntype nat hook postrouting priority 100\n"
        text += f"oifname \"{plan['masquerade']}\" masquerade\n}}\n"
    return f"table inet pair {{\n{text}}}\n"


def dropped():
    """How many packets each rule dropped, by its flow."""
    listed = json.loads(run("nft -j list ruleset"))["nftables"]
    counted = [entry["rule"] for entry in listed if "comment" in entry.get("rule", {})]
    packets = lambda rule: next(e["counter"]["packets"] for e in rule["expr"] if "counter" in e)
    return {rule["comment"]: packets(rule) for rule in counted}


def family(flow):
    """A flow's address family."""
    return socket.AF_INET6 if flow.get("v6") else socket.AF_INET


def send_udp(flow, to):
    """Sends datagrams. One that a rule of this host drops is an error of the call."""
    with socket.socket(family(flow), socket.SOCK_DGRAM) as out:
        if flow.get("df"):
            out.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, ALWAYS)
        for number in range(flow["count"]):
            start = b"" if flow.get("equal") else struct.pack("!I", number)
            try:
                out.sendto((start + b"d" * flow["size"])[: flow["size"]], (to, flow["port"]))
            except PermissionError:
                pass
            time.sleep(GAP)
    time.sleep(0.3)  # what is delayed on the wire arrives
    return {"sent": flow["count"]}


class Receiver:
    """Takes datagrams until its flow has ended."""

    def __init__(self, flow):
        self.flow, self.numbers, self.done = flow, [], threading.Event()
        self.socket = socket.socket(family(flow), socket.SOCK_DGRAM)
        self.socket.settimeout(0.1)
        self.socket.bind(("", flow["port"]))
        self.thread = threading.Thread(target=self.take)
        self.thread.start()

    def take(self):
        """Notes the numbers of datagrams; of equal ones, places."""
        while True:
            try:
                payload = self.socket.recv(65536)
            except TimeoutError:
                if self.done.is_set():
                    return
                continue
            equal = self.flow.get("equal")
            self.numbers.append(len(self.numbers) if equal else struct.unpack_from("!I", payload)[0])

    def end(self):
        """What came."""
        self.done.set()
        self.thread.join()
        return {"received": self.numbers}


def ping(flow, to):
    """Sends echo requests, and tells which were answered."""
    family_option = "-6" if flow.get("v6") else "-4"
    command = f"ping {family_option} -n -i 0.02 -W 1 -e {flow['port']} -s {flow['size']} -c {flow['count']} {to}"
    said = subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
    lines = [line for line in said.splitlines() if "bytes from" in line and "DUP!" not in line]
    answered = [int(line.split("icmp_seq=")[1].split()[0]) for line in lines]
    return {"sent": flow["count"], "answered": answered}


def retransmitted(stream):
    """Segments that a socket sent again."""
    info = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return struct.unpack_from("=I", info, TCP_INFO_TOTAL_RETRANS)[0]


def take_bytes(stream, count):
    """Reads so many bytes."""
    while count > 0:
        count -= len(stream.recv(count)) or sys.exit("the other side closed a connection too early")


def ask_tcp(flow, to):
    """Sends bytes, or requests of which each awaits its answer."""
    connections = []
    for _ in range(flow["connections"]):
        with socket.socket(family(flow)) as stream:
            stream.settimeout(PATIENCE)
            stream.connect((to, flow["port"]))
            if "bytes" in flow:
                stream.sendall(b"b" * flow["bytes"])
            for _ in range(flow.get("requests", 0)):
                stream.sendall(b"q" * 100)
                take_bytes(stream, 200)
            stream.shutdown(socket.SHUT_WR)
            stream.recv(1)
            connections.append({"port": stream.getsockname()[1], "retransmitted": retransmitted(stream)})
    return {"client": connections}


class Server:
    """Takes bytes, and answers requests."""

    def __init__(self, flow):
        self.flow, self.connections = flow, []
        self.listener = socket.create_server(("", flow["port"]), family=family(flow))
        self.listener.settimeout(PATIENCE)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        """Serves the flow's connections, one after the other."""
        for _ in range(self.flow["connections"]):
            stream, _ = self.listener.accept()
            with stream:
                stream.settimeout(PATIENCE)
                total = self.answer(stream)
                self.connections.append({"bytes": total, "retransmitted": retransmitted(stream)})

    def answer(self, stream):
        """Reads to the end; returns how many bytes that were."""
        total = answered = 0
        while data := stream.recv(65536):
            total += len(data)
            while "requests" in self.flow and total - answered >= 100:
                stream.sendall(b"a" * 200)
                answered += 100
        return total

    def end(self):
        """What came."""
        self.thread.join()
        return {"server": self.connections}


@contextmanager
def recording(command, said):
    """A recorder, from when it records until it has written all."""
    with open(said, "w+", encoding="utf-8") as stderr:
        recorder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr)
        while "recording" not in open(said, encoding="utf-8").read():
            if recorder.poll() is not None:
                sys.exit(f"the recorder ended: {open(said, encoding='utf-8').read()}")
            time.sleep(0.1)
        yield
        recorder.send_signal(signal.SIGINT)
        if recorder.wait(PATIENCE):
            sys.exit(f"the recorder failed: {open(said, encoding='utf-8').read()}")


def main(plan, own, folder, recorder, *more):
    """Plays the plan's flows with the other guests."""
    host = Host(PLANS[plan], own, folder)
    host.set_up()
    command = [recorder, "capture", "--force", "-o", f"{folder}/{own}.ntc", *more]
    with recording(command, f"{folder}/{own}.stderr"):
        host.meet()
        for flow in host.plan["flows"]:
            host.play(flow)
    with open(f"{folder}/{own}.json", "w", encoding="utf-8") as out:
        json.dump({"flows": host.flows, "dropped": dropped()}, out)
    host.meet()  # a guest that is gone would end the wire


if __name__ == "__main__":
    main(*sys.argv[1:])

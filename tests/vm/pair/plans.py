"""What several guests send each other, and what becomes of it on purpose. Data only.

A flow is known by its kind and its port or, of pings, identifier: `udp-7001`. Its packets are numbered from 0, pings from 1
(their sequence numbers). A datagram's payload begins with its number (32 bits) unless the flow's payloads are `equal`: then
numbers are places in the order of sending.
"""

PAIR = {
    "A": {"eth0": ("10.88.0.1", "fd88::1")},
    "B": {"eth0": ("10.88.0.2", "fd88::2")},
}
ROUTED = {
    "A": {"eth0": ("10.88.1.1", "fd88:1::1"), "via": ("10.88.1.254", "fd88:1::fe")},
    "M": {"eth0": ("10.88.1.254", "fd88:1::fe"), "eth1": ("10.88.2.254", "fd88:2::fe")},
    "B": {"eth0": ("10.88.2.2", "fd88:2::2"), "via": ("10.88.2.254", "fd88:2::fe")},
}


def udp(port, count, size=100, **more):
    """Datagrams of `size` bytes, one way."""
    return {"kind": "udp", "port": port, "count": count, "size": size, "from": "A", "to": "B", **more}


def ping(identifier, count, **more):
    """Echo requests, each answered."""
    return {"kind": "ping", "port": identifier, "count": count, "size": 56, "from": "A", "to": "B", **more}


def tcp(port, **more):
    """`bytes` from one side to the other, or `requests` of 100 bytes with answers of 200, on `connections`."""
    return {"kind": "tcp", "port": port, "connections": 1, "from": "A", "to": "B", **more}


FROM_A = [
    ping(11, 30),
    ping(12, 15, v6=True),
    udp(7001, 40),
    udp(7003, 40, df=True),
    udp(7004, 40, equal=True),
    udp(7005, 40, equal=True, df=True),
    udp(7006, 8, size=3000),
    udp(7007, 20, v6=True),
    udp(7008, 10, size=0, equal=True, df=True),
    tcp(8001, bytes=100_000),
    tcp(8003, requests=15),
    tcp(8004, requests=1, connections=4),
    tcp(8005, requests=8, v6=True),
]
FROM_B = [
    ping(13, 15, **{"from": "B", "to": "A"}),
    udp(7002, 20, **{"from": "B", "to": "A"}),
    tcp(8002, bytes=60_000, **{"from": "B", "to": "A"}),
]

# What nftables drops inside a host: of a flow, packets with these numbers.
DROPS = [
    {"at": "A", "flow": "ping-11", "numbers": [5, 21]},
    {"at": "B", "flow": "ping-11", "numbers": [13, 14]},
    {"at": "A", "flow": "udp-7001", "numbers": [7, 33, 34]},
    {"at": "B", "flow": "udp-7001", "numbers": [20, 21]},
    {"at": "B", "flow": "udp-7003", "numbers": [3]},
    {"at": "A", "flow": "udp-7007", "numbers": [9]},
]

# What becomes of packets on the wire. Numbers of TCP are places among its segments with data; `back` means answers, and of
# TCP all that the server sends. Later packets pass one that is held.
WIRE = [
    {"act": "lose", "flow": "ping-11", "numbers": [3, 17]},
    {"act": "lose", "flow": "ping-11", "numbers": [25], "back": True},
    {"act": "lose", "flow": "ping-12", "numbers": [7]},
    {"act": "lose", "flow": "udp-7001", "numbers": [10, 11]},
    {"act": "double", "flow": "udp-7001", "numbers": [15, 36], "ms": 1},
    {"act": "hold", "flow": "udp-7001", "numbers": [25], "ms": 40},
    {"act": "lose", "flow": "udp-7002", "numbers": [4]},
    {"act": "lose", "flow": "udp-7003", "numbers": [12]},
    {"act": "lose", "flow": "udp-7004", "numbers": [8, 30]},
    {"act": "lose", "flow": "udp-7005", "numbers": [5, 22]},
    {"act": "double", "flow": "udp-7005", "numbers": [14], "ms": 1},
    {"act": "lose", "flow": "udp-7007", "numbers": [2]},
    {"act": "lose", "flow": "tcp-8001", "numbers": [12, 40]},
    {"act": "lose", "flow": "tcp-8003", "numbers": [6]},
    {"act": "lose", "flow": "tcp-8003", "numbers": [9], "back": True},
]

PLANS = {
    "pair": {
        "hosts": PAIR,
        "flows": FROM_A + FROM_B,
        "drops": DROPS,
        "wire": WIRE,
        "delays": {"there": 8, "back": 2},
    },
    # A behind a router that gives what it sends another source; the wire is between router and B.
    "router": {
        "hosts": ROUTED,
        "flows": FROM_A,
        "drops": DROPS + [{"at": "M", "flow": "udp-7003", "numbers": [8, 9]}],
        "wire": [rule for rule in WIRE if rule["flow"] != "udp-7002"],
        "delays": {"there": 3, "back": 3},
        "masquerade": "eth1",
    },
}


def name(flow):
    """How a flow is called."""
    return f"{flow['kind']}-{flow['port']}"


def flow_of(plan, called):
    """The flow of a name."""
    return next(flow for flow in plan["flows"] if name(flow) == called)

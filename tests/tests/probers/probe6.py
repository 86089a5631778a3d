"""What no client sends over IPv6: headers, fragments and neighbours as an attacker writes them, made by scapy.

    probe6.py INTERFACE OUR_ADDRESS ADDRESS_OF_THE_HOST
"""

import sys

from wire import Conversation, Wire
from scapy.all import (
    TCP, UDP, HBHOptUnknown, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Raw,
)

SILENCE = []
REPLY = ["icmp 129/0"]


def headers(wire):
    """RFC 8200 §4, RFC 4443 §3.4."""
    echo = ICMPv6EchoRequest(id=7, seq=1, data=b"x" * 24)

    def ask(name, *expected, chain=None, station=None, payload=echo, **fields):
        packet = wire.ip(**fields) / chain / payload if chain is not None else wire.ip(**fields) / payload
        wire.check(name, wire.ask(packet, station=station), *expected)

    def unknown(kind):
        return IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=kind, optdata=b"abcd")])

    ask("echo", REPLY)
    ask("options to be skipped", REPLY, chain=unknown(0x1e))
    ask("options that drop", SILENCE, chain=unknown(0x5e))
    ask("options that are told", ["icmp 4/2"], chain=unknown(0x9e))
    ask("hop-by-hop first", REPLY, chain=IPv6ExtHdrHopByHop())
    ask("hop-by-hop second", ["icmp 4/1"], chain=IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop())
    ask("a route that is over", REPLY, chain=IPv6ExtHdrRouting(type=0, segleft=0))
    ask("a route of type 0", ["icmp 4/0"], chain=IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd77::9"]))
    ask("unknown next header", ["icmp 4/1"], nh=253, payload=Raw(b"12345678"))
    ask("a chain of 60 headers", SILENCE, chain=Raw(b"\x3c\x00\x01\x04\x00\x00\x00\x00" * 59 + b"\x3a\x00\x01\x04\x00\x00\x00\x00"), nh=60)
    ask("options beyond the datagram", SILENCE, nh=60, payload=Raw(b"\x3a\xff\x01\x04\x00\x00\x00\x00"))
    ask("an option beyond its header", SILENCE, nh=60, payload=Raw(b"\x3a\x00\x1e\xff\x00\x00\x00\x00" + bytes(24)))
    ask("length beyond the frame", SILENCE, plen=1000)
    ask("length 0", SILENCE, plen=0)
    for source in ["::1", "ff02::1", "::ffff:10.77.0.1"]:
        ask(f"source {source}", SILENCE, src=source)
    ask("source: ourselves", SILENCE, src=wire.theirs)
    ask("destination ::1", SILENCE, dst="::1")
    ask("wrong checksum", SILENCE, payload=ICMPv6EchoRequest(id=7, seq=1, cksum=1))


def fragments(wire):
    """RFC 5722: whatever overlaps is dropped whole. RFC 6946: what is alone is whole at once."""
    # The checksum counts addresses: taken from the datagram as scapy completes it.
    body = bytes(IPv6(bytes(wire.ip() / ICMPv6EchoRequest(id=8, seq=1, data=bytes(range(256)) * 4))).payload)

    def piece(name, start, end, more, payload=body):
        return wire.ip() / IPv6ExtHdrFragment(nh=58, id=name, offset=start // 8, m=int(more)) / Raw(payload[start:end])

    wire.check("fragments from behind", wire.ask(piece(1, 512, None, False), piece(1, 0, 512, True)), REPLY)
    wire.check("an atomic fragment", wire.ask(piece(2, 0, None, False)), REPLY)
    other = bytes(255 - byte for byte in body)
    wire.check("overlap", wire.ask(piece(3, 0, 512, True), piece(3, 256, 768, True, other), piece(3, 512, None, False)), SILENCE)
    wire.check("overlap from behind", wire.ask(piece(4, 512, None, False), piece(4, 0, 520, True, other), piece(4, 0, 512, True)), SILENCE)
    wire.check("not a multiple of 8", wire.ask(piece(5, 0, 511, True)), ["icmp 4/0"])
    beyond = wire.ip() / IPv6ExtHdrFragment(nh=17, id=6, offset=8191, m=0) / Raw(b"z" * 64)
    wire.check("beyond 65535 bytes", wire.ask(beyond), ["icmp 4/0"])
    # RFC 7112: the first fragment has all headers.
    tiny = wire.ip() / IPv6ExtHdrFragment(nh=6, id=8, m=1) / Raw(bytes(TCP(sport=9, dport=80, flags="S"))[:8])
    wire.check("eight bytes of TCP", wire.ask(tiny), ["icmp 4/3"])


def neighbours(wire):
    """RFC 4861 §7.1: what came over a router, or has options without length, is nobody's neighbour."""
    def solicit(hops=255, options=ICMPv6NDOptSrcLLAddr(lladdr=wire.own), **fields):
        return wire.ip(hlim=hops) / ICMPv6ND_NS(tgt=wire.theirs, **fields) / options

    wire.check("solicitation", wire.ask(solicit()), ["icmp 136/0"])
    wire.check("solicitation from afar", wire.ask(solicit(hops=254)), SILENCE)
    wire.check("solicitation with code 1", wire.ask(solicit(code=1)), SILENCE)
    wire.check("option of length 0", wire.ask(solicit(options=Raw(b"\x01\x00" + bytes(6)))), SILENCE)
    wire.check("option beyond the message", wire.ask(solicit(options=Raw(b"\x01\x09" + bytes(6)))), SILENCE)
    group = wire.ip(hlim=255) / ICMPv6ND_NS(tgt="ff02::1") / ICMPv6NDOptSrcLLAddr(lladdr=wire.own)
    wire.check("target: a group", wire.ask(group), SILENCE)
    stolen = wire.ip(src="fd77::77", hlim=255) / ICMPv6ND_NA(tgt=wire.ours, R=0, S=0, O=1)
    wire.check("our station, by another", wire.ask(stolen / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:99"), solicit()), ["icmp 136/0"])
    # Ours again, as nothing of the host's would reach us.
    back = wire.ip(hlim=255) / ICMPv6ND_NA(tgt=wire.ours, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=wire.own)
    wire.send(back)
    wire.check("router from afar", wire.ask(wire.ip(hlim=64) / ICMPv6ND_RA()), SILENCE)


def transport(wire):
    """As over IPv4, in short."""
    for name, fields, expected in [
        ("open", {"dport": 80, "flags": "S"}, ["SA"]), ("closed", {"dport": 81, "flags": "S"}, ["RA"]),
        ("Xmas, open", {"dport": 80, "flags": "FPU"}, SILENCE), ("Xmas, closed", {"dport": 81, "flags": "FPU"}, ["RA"]),
        ("checksum", {"dport": 80, "flags": "S", "chksum": 1}, SILENCE),
    ]:
        port = wire.next_port()
        wire.check(name, wire.ask(wire.ip() / TCP(sport=port, seq=1, **fields)), expected)
        wire.ask(wire.ip() / TCP(sport=port, dport=80, seq=2, flags="R"))
    land = IPv6(src=wire.theirs, dst=wire.theirs) / TCP(sport=80, dport=80, flags="S")
    wire.check("land", wire.ask(land), SILENCE)
    wire.check("UDP", wire.ask(wire.ip() / UDP(sport=5, dport=9999) / Raw(b"hello")), ["icmp 1/4"])
    wire.check("UDP without checksum", wire.ask(wire.ip() / UDP(sport=5, dport=9999, chksum=0) / Raw(b"hello")), SILENCE)
    for name, flags, ahead, expected in [
        ("RST in the window", "R", 1, ["A"]), ("RST outside", "R", 2**30, SILENCE), ("SYN in the window", "S", 1, ["A"]),
    ]:
        conversation = Conversation(wire)
        conversation.check(name, conversation.segment(flags, seq=conversation.next + ahead), expected)
    for name, error in [("too big, 68 bytes", ICMPv6PacketTooBig(mtu=68)), ("unreachable", ICMPv6DestUnreach(code=1))]:
        conversation = Conversation(wire)
        quoted = IPv6(src=wire.theirs, dst=wire.ours) / TCP(sport=80, dport=conversation.port, seq=conversation.acked)
        conversation.check(name, wire.ip() / error / quoted, SILENCE)


def main():
    wire = Wire(*sys.argv[1:])
    for probes in [headers, fragments, neighbours, transport]:
        probes(wire)
    wire.finish()


main()

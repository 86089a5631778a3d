"""What no client sends: IPv4 and TCP as an attacker writes them, made by scapy.

    probe4.py INTERFACE OUR_ADDRESS ADDRESS_OF_THE_HOST ADDRESS_OF_A_CLIENT

Port 80 of the host serves HTTP, 81 is closed; the client has a transfer going on. Each probe names the answers that the
RFCs allow; one that is answered otherwise is printed, and the program fails.
"""

import random
import sys
import time

from wire import PATIENCE_S, Conversation, Wire, tap
from scapy.all import ICMP, IP, TCP, UDP, Ether, Raw, fragment

SILENCE = []


def datagrams(wire):
    """Headers that lie (RFC 791, RFC 1122 §3.2)."""
    echo = bytes(ICMP(id=7, seq=1) / Raw(b"x" * 24))

    def ask(name, *expected, payload=echo, station=None, **fields):
        fields = {"proto": 1, **fields}
        wire.check(name, wire.ask(wire.ip(**fields) / Raw(payload), station=station), *expected)

    ask("echo", ["icmp 0/0"])
    ask("IP checksum", SILENCE, chksum=0x1234)
    ask("version 5", SILENCE, version=5)
    ask("header of 16 bytes", SILENCE, ihl=4)
    ask("header beyond the datagram", SILENCE, ihl=15, payload=b"")
    ask("length beyond the frame", SILENCE, len=1000)
    ask("length below the header", SILENCE, len=19)
    ask("source: ourselves", SILENCE, src=wire.theirs)
    for source in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.77.0.255"]:
        ask(f"source {source}", SILENCE, src=source)
    ask("destination 127.0.0.1", SILENCE, dst="127.0.0.1")
    ask("somebody else's datagram", SILENCE, dst="10.77.0.99")
    # Options whose lengths cannot be stepped over, and a route that its sender chose (RFC 7126 §4.3).
    refused = [SILENCE, ["icmp 12/0"]]
    ask("option of length 0", *refused, options=Raw(b"\x07\x00\x04\x00"))
    ask("option of length 1", *refused, options=Raw(b"\x44\x01\x05\x00"))
    ask("option beyond the header", *refused, options=Raw(b"\x07\xff\x04\x00"))
    ask("source route", SILENCE, ["icmp 3/5"], options=Raw(b"\x83\x07\x04\x0a\x4d\x00\x09\x00"))
    ask("unknown protocol", ["icmp 3/2"], proto=253)
    ask("unknown protocol, to everybody", SILENCE, proto=253, dst="10.77.0.255", station="ff:ff:ff:ff:ff:ff")
    ask("ICMP checksum", SILENCE, payload=echo[:2] + b"\x00\x01" + echo[4:])
    for kind in [4, 5, 9, 13, 17, 42]:
        ask(f"ICMP type {kind}", SILENCE, payload=bytes(ICMP(type=kind) / Raw(b"y" * 28)))
    ask("ICMP of three bytes", SILENCE, payload=b"\x08\x00\x00")


def fragments(wire):
    """Fragments in any order make a datagram; fragments that disagree make none (RFC 1122 §3.3.2, RFC 5722)."""
    echo = bytes(ICMP(id=8, seq=1) / Raw(bytes(range(256)) * 5))

    def piece(start, end, more, name, payload=echo):
        return wire.ip(id=name, proto=1, flags="MF" if more else 0, frag=start // 8) / Raw(payload[start:end])

    parts = [piece(0, 512, True, 1), piece(512, 1024, True, 1), piece(1024, None, False, 1)]
    whole = wire.ask(*reversed(parts))
    wire.check("fragments from behind", whole, ["icmp 0/0"])
    if whole and bytes(whole[0][ICMP].payload) != echo[8:]:
        wire.failed.append("fragments from behind: not what was sent")
    wire.check("a fragment twice", wire.ask(*[piece(0, 512, True, 2)] * 2, piece(512, None, False, 2)), ["icmp 0/0"])
    other = bytes(255 - byte for byte in echo)
    wire.check("an overlap that disagrees", wire.ask(
        piece(0, 512, True, 3), piece(256, 1024, True, 3, other), piece(512, 1024, True, 3), piece(1024, None, False, 3)), SILENCE)
    wire.check("one fragment inside another", wire.ask(
        piece(0, 512, True, 4), piece(24, 48, False, 4, other), piece(512, None, False, 4)), SILENCE)
    wire.check("two ends", wire.ask(piece(512, 1024, False, 5), piece(1024, None, False, 5), piece(0, 512, True, 5)), SILENCE)
    wire.check("beyond 65535 bytes", wire.ask(
        piece(0, 512, True, 6), wire.ip(id=6, proto=1, frag=8189) / Raw(b"z" * 1400)), SILENCE)
    wire.check("not a multiple of 8", wire.ask(
        piece(0, 511, True, 7), wire.ip(id=7, proto=1, frag=64) / Raw(b"z" * 16)), SILENCE)
    # Pieces of a thousand datagrams that never become whole: held within limits, and nothing else suffers.
    flood = [wire.ip(id=1000 + i, proto=1, flags="MF", frag=i % 100) / Raw(b"f" * 1400) for i in range(1000)]
    wire.check("pieces without end", wire.ask(*flood), SILENCE)
    syn = TCP(sport=wire.next_port(), dport=80, flags="S", seq=1, options=[("MSS", 1460)])
    wire.check("SYN in fragments of 8 bytes", wire.ask(*fragment(wire.ip(id=9) / syn / Raw(b""), fragsize=8)), ["SA"])


def udp(wire):
    """Nobody listens: the sender is told, if it is one and asked for us alone (RFC 1122 §4.1.3)."""
    def ask(name, *expected, station=None, dst=wire.theirs, **fields):
        udp = UDP(sport=wire.next_port(), dport=9999, **fields)
        wire.check(name, wire.ask(wire.ip(dst=dst) / udp / Raw(b"hello"), station=station), *expected)

    ask("UDP to a closed port", ["icmp 3/3"])
    ask("UDP without checksum", ["icmp 3/3"], chksum=0)
    ask("UDP checksum", SILENCE, chksum=0x1234)
    ask("UDP length beyond the datagram", SILENCE, len=1000)
    ask("UDP length below its header", SILENCE, len=7)
    ask("UDP to everybody", SILENCE, dst="10.77.0.255", station="ff:ff:ff:ff:ff:ff")


def closed_port(wire):
    """RFC 9293 §3.10.7.1: a RST for everything but a RST, with the numbers that make it acceptable."""
    def ask(name, *expected, **fields):
        segment = wire.ip() / TCP(sport=wire.next_port(), dport=81, seq=1000, ack=77, **fields)
        answers = wire.ask(segment)
        wire.check(name, answers, *expected)
        for answer in answers:
            with_ack = "A" in str(segment[TCP].flags)
            right = (77, 0) if with_ack else (0, 1000 + sum(flag in str(segment[TCP].flags) for flag in "SF"))
            if (answer[TCP].seq, answer[TCP].ack) != right:
                wire.failed.append(f"{name}: RST {answer[TCP].seq}/{answer[TCP].ack}, expected {right}")

    for flags in ["S", "F", "", "FPU", "P", "U", "EC", "SF"]:
        ask(f"closed, flags '{flags}'", ["RA"], flags=flags)
    for flags in ["A", "SA", "FA", "PA", "FSPAUEC"]:
        ask(f"closed, flags '{flags}'", ["R"], flags=flags)
    for flags in ["R", "RA", "FSRPAU"]:
        ask(f"closed, flags '{flags}'", SILENCE, flags=flags)
    ask("closed, checksum", SILENCE, flags="S", chksum=0x1234)
    ask("closed, header of 16 bytes", SILENCE, flags="S", dataofs=4)
    ask("closed, header beyond the segment", SILENCE, flags="S", dataofs=15)


def listening_port(wire):
    """RFC 9293 §3.10.7.2; and options of any length are survived (MUST-7)."""
    def ask(name, *expected, options=b"", ours=wire.ours, station=None, dst=wire.theirs, **fields):
        fields = {"flags": "S", "sport": wire.next_port(), "dport": 80, "seq": 5000, **fields}
        # By hand, as scapy sets lengths right.
        if options:
            fields["dataofs"] = 5 + len(options) // 4
        segment = wire.ip(src=ours, dst=dst) / TCP(**fields) / Raw(options)
        answers = wire.ask(segment, station=station)
        wire.check(name, answers, *expected)
        if answers and "S" in answers[0][TCP].flags:
            wire.ask(wire.ip() / TCP(**{**fields, "flags": "R", "seq": 5001, "dataofs": 5}))

    ask("SYN", ["SA"])
    for flags in ["A", "SA", "FA"]:
        ask(f"listening, flags '{flags}'", ["R"], flags=flags, ack=99)
    for flags in ["", "F", "FPU", "R", "RA", "SR"]:
        ask(f"listening, flags '{flags}'", SILENCE, flags=flags)
    ask("checksum", SILENCE, chksum=0x1234)
    ask("land", SILENCE, ours=wire.theirs, sport=80)
    ask("SYN to everybody", SILENCE, dst="10.77.0.255", station="ff:ff:ff:ff:ff:ff")
    ask("SYN to us, by a broadcast frame", SILENCE, station="ff:ff:ff:ff:ff:ff")
    ask("SYN from a group", SILENCE, ours="224.0.0.5")
    for name, options in {
        "length 0": b"\x02\x00\x05\xb4", "length 1": b"\x08\x01\x01\x01", "beyond the header": b"\x08\xff\x01\x01",
        "no length": b"\x01\x01\x01\x02", "MSS of 3 bytes": b"\x02\x03\x05\x00", "MSS 0": b"\x02\x04\x00\x00",
        "scale of 4 bytes": b"\x03\x04\x01\x01", "scale 255": b"\x03\x03\xff\x00", "SACK on a SYN": b"\x05\x02\x01\x00",
        "SACK of 9 bytes": b"\x05\x09" + b"\x01" * 10, "timestamp of 9 bytes": b"\x08\x09" + b"\x02" * 10,
        "40 bytes unknown": b"\xfd\x28" + b"\x03" * 38, "cookie of 3 bytes": b"\x22\x03\x01\x01", "end first": b"\x00\x02\x00\x00",
    }.items():
        ask(f"option: {name}", ["SA"], options=options)


def established(wire):
    """RFC 5961: only an exact RST ends a connection; what could be forged is asked about, by an ACK."""
    far = 2**30
    for name, flags, seq, expected in [
        ("RST one ahead", "R", 1, [["A"]]), ("RST in the window", "RA", 1000, [["A"]]),
        ("RST behind", "R", -1, [SILENCE]), ("RST outside", "R", far, [SILENCE]),
        ("SYN in the window", "S", 100, [["A"]]), ("SYN at its start", "S", 0, [["A"]]),
        ("SYN outside", "S", far, [["A"]]), ("SYN behind", "S", -100, [["A"]]), ("SYN and FIN", "SF", 5, [["A"]]),
        ("SYN and ACK", "SA", 0, [["A"]]), ("no flags", "", 0, [SILENCE]), ("ACK outside", "A", far, [["A"]]),
        ("FIN without ACK", "F", 0, [SILENCE]), ("FIN outside", "FA", far, [["A"]]),
    ]:
        conversation = Conversation(wire)
        conversation.check(name, conversation.segment(flags, seq=conversation.next + seq), *expected)
    # RFC 5961 §5: acknowledgements that cannot be, with data that must not be believed.
    for name, ack in [("ACK of what was never sent", 5000), ("ACK from long ago", -far)]:
        conversation = Conversation(wire)
        conversation.check(name, conversation.segment("PA", ack=conversation.acked + ack, payload=b"NONSENSE\r\n\r\n"), ["A"])
    conversation = Conversation(wire)
    conversation.check("data outside the window", conversation.segment("PA", seq=conversation.next + far, payload=b"X"), ["A"])
    conversation = Conversation(wire)
    conversation.check("data with a wrong checksum", conversation.segment("PA", payload=b"NONSENSE\r\n\r\n", chksum=1), SILENCE)
    conversation = Conversation(wire, [("Timestamp", (1000, 0))])
    old = conversation.segment("PA", payload=b"NONSENSE\r\n\r\n", options=[("Timestamp", (999, 0))])
    conversation.check("data from the past (PAWS)", old, ["A"])
    # In pieces, from behind, overlapping: still the one request.
    conversation, request = Conversation(wire), b"GET /small.bin HTTP/1.1\r\nHost: x\r\n\r\n"
    pieces = [(20, None), (10, 25), (0, 1), (0, 12), (0, None)]
    conversation.check_works("a request in overlapping pieces", *(
        conversation.segment("PA", seq=conversation.next + start, payload=request[start:end]) for start, end in pieces))
    conversation = Conversation(wire)
    conversation.check_works("urgent pointers", *(
        conversation.segment("PAU", urgptr=urgent, payload=request) for urgent in [0, 65535, 1]))
    # One connection challenges twice a second at most, however often it is asked (RFC 5961 §7).
    conversation, start = Conversation(wire), time.monotonic()
    answers = wire.ask(*(conversation.segment("R", seq=conversation.next + 1 + i) for i in range(200)))
    wire.asked += 1
    if not 1 <= len(answers) <= 2 + 2 * (time.monotonic() - start):
        wire.failed.append(f"200 RSTs were challenged {len(answers)} times")
    conversation.check_works("200 RSTs")
    conversation = Conversation(wire)
    conversation.end()
    wire.check("after an exact RST", wire.ask(conversation.segment("A")), ["R"])


def forged_errors(wire):
    """ICMP errors about a connection: believed only about what is in flight, and none ends it (RFC 5927, RFC 5461)."""
    for name, kind, code, seq, mtu in [
        ("unreachable", 3, 1, 0, 0), ("port unreachable", 3, 3, 0, 0), ("too big, for nobody's number", 3, 4, -(2**30), 68),
        ("too big, 68 bytes", 3, 4, 0, 68), ("too big, 0 bytes", 3, 4, 0, 0), ("source quench", 4, 0, 0, 0),
    ]:
        conversation = Conversation(wire)
        quoted = IP(src=wire.theirs, dst=wire.ours) / TCP(sport=80, dport=conversation.port, seq=(conversation.acked + seq) % 2**32)
        conversation.check(name, wire.ip() / ICMP(type=kind, code=code, nexthopmtu=mtu) / Raw(bytes(quoted)[:28]), SILENCE)


def somebody_elses(wire, interface, client):
    """Segments in the name of a client that is in the middle of a transfer."""
    heard = tap(interface, f"src host {client} and tcp dst port 80 and tcp[tcpflags] == tcp-ack")
    heard.settimeout(PATIENCE_S)
    for _ in range(50):
        # Our own kernel sends it: heard here as it leaves.
        tcp = Ether(heard.recv(70000))[TCP]
        # Ahead of what the client will have sent by then.
        seq = (tcp.seq + random.randrange(20_000, 40_000)) % 2**32
        for flags in ["R", "RA", "S", "SA", ""]:
            wire.send(IP(src=client, dst=wire.theirs) / TCP(sport=tcp.sport, dport=80, flags=flags, seq=seq, ack=tcp.ack))
        nonsense = TCP(sport=tcp.sport, dport=80, flags="PA", seq=seq, ack=(tcp.ack + 2**30) % 2**32)
        wire.send(IP(src=client, dst=wire.theirs) / nonsense / Raw(b"NONSENSE" * 20))


def main():
    interface, ours, theirs, client = sys.argv[1:]
    random.seed(1)
    wire = Wire(interface, ours, theirs)
    for probes in [datagrams, fragments, udp, closed_port, listening_port, established, forged_errors]:
        probes(wire)
    somebody_elses(wire, interface, client)
    wire.finish()


main()

"""A wire to the host under test: frames made by scapy go out, what they are answered with comes back.

Nothing waits for a time: an echo request goes after each probe, twice, and whatever is going to be said about the
probe has been said when both are answered, as the host takes frames in their order and one batch at a time.
"""

import logging
import select
import socket
import time

logging.getLogger("scapy").setLevel(logging.CRITICAL)

from scapy.all import (  # noqa: E402
    ARP, ICMP, IP, TCP, Ether, ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr,
    IPv6, Raw, get_if_hwaddr, in6_getnsma, in6_getnsmac, inet_ntop, inet_pton,
)
from scapy.arch.linux import attach_filter  # noqa: E402

ETH_P_ALL = 3
# The kernel knows nothing of connections from these ports, a rule keeps it from resetting them, and no connection of its
# own, such as those of the transfers beside, is ever given one of them (`ip_local_port_range` begins at 32768).
FIRST_PORT, LAST_PORT = 20000, 20999
PATIENCE_S = 10


def tap(interface, wanted):
    """A socket that sends frames, and receives those that are wanted, in the language of pcap-filter(7)."""
    tapped = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    attach_filter(tapped, wanted, interface)
    tapped.bind((interface, ETH_P_ALL))
    return tapped


class Wire:
    """The interface, the two addresses, and the station of the host under test."""

    def __init__(self, interface, ours, theirs):
        # Not the transfers that run beside: they would fill the socket's buffer.
        self.socket = tap(interface, f"not tcp or dst portrange {FIRST_PORT}-{LAST_PORT}")
        self.own, self.ours, self.theirs = get_if_hwaddr(interface), ours, theirs
        self.v6 = ":" in ours
        self.network = IPv6 if self.v6 else IP
        self.echoes, self.port = 0, FIRST_PORT
        self.failed, self.asked, self.station = [], 0, None
        self.station = self.resolve()

    def resolve(self):
        """The station of the host, as its neighbours find it."""
        if self.v6:
            group = in6_getnsma(inet_pton(socket.AF_INET6, self.theirs))
            question = Ether(src=self.own, dst=in6_getnsmac(group)) / IPv6(src=self.ours, dst=inet_ntop(socket.AF_INET6, group))
            question /= ICMPv6ND_NS(tgt=self.theirs) / ICMPv6NDOptSrcLLAddr(lladdr=self.own)
        else:
            question = Ether(src=self.own, dst="ff:ff:ff:ff:ff:ff")
            question /= ARP(op=1, hwsrc=self.own, psrc=self.ours, pdst=self.theirs)
        self.socket.send(bytes(question))
        for frame in self.frames(time.monotonic() + PATIENCE_S):
            if (frame[ICMPv6ND_NA].tgt if ICMPv6ND_NA in frame else ARP in frame and frame[ARP].psrc) == self.theirs:
                return frame.src
        raise SystemExit("nobody answers for " + self.theirs)

    def frames(self, until):
        """What the host says; as long as its station is not known, what anybody else says."""
        while (left := until - time.monotonic()) > 0:
            if not select.select([self.socket], [], [], left)[0]:
                return
            frame = Ether(self.socket.recv(70000))
            if frame.src == (self.station or frame.src) != self.own:
                yield frame

    def send(self, packet, station=None):
        self.socket.send(bytes(Ether(src=self.own, dst=station or self.station) / packet))

    def ask(self, *packets, station=None):
        """All that is said about the packets, which are sent in this order; not what is said to other ports meanwhile."""
        for packet in packets:
            self.send(packet, station)
        answers = self.fence() + self.fence()
        # A connection that an earlier probe left half open is still being answered, whatever is asked now.
        port = packets[0][TCP].sport if TCP in packets[0] else self.port
        answers = [answer for answer in answers if answer.layers()[1:2] != [TCP] or answer[TCP].dport == port]
        return [answer for n, answer in enumerate(answers) if not any(is_again(answer, first) for first in answers[:n])]

    def fence(self):
        """All that comes before the answer to an echo request."""
        self.echoes += 1
        if self.v6:
            self.send(IPv6(src=self.ours, dst=self.theirs) / ICMPv6EchoRequest(id=0xfe, seq=self.echoes))
        else:
            self.send(IP(src=self.ours, dst=self.theirs) / ICMP(id=0xfe, seq=self.echoes))
        before = []
        for frame in self.frames(time.monotonic() + PATIENCE_S):
            echo = frame[ICMPv6EchoReply] if ICMPv6EchoReply in frame else frame.getlayer(ICMP)
            if echo and echo.type in (0, 129) and echo.id == 0xfe:
                if echo.seq == self.echoes:
                    return before
            elif self.network in frame and not self.is_unasked(frame[self.network]):
                before.append(frame[self.network])
        self.failed.append(f"after {self.asked} probes, the next one sent: an echo request is not answered any more")
        self.finish()

    def is_unasked(self, packet):
        """What is said to everybody, or to the kernel of this machine, which has neighbours of its own to find."""
        said = describe(packet)
        return said in UNASKED or (said == ADVERTISEMENT and packet.dst != self.ours)

    def check(self, name, answers, *expected):
        """Notes whether the answers are one of those that are expected."""
        self.asked += 1
        said = [describe(answer) for answer in answers]
        if said not in [list(one) for one in expected]:
            self.failed.append(f"{name}: {said}, expected {' or '.join(map(str, expected))}")

    def finish(self):
        """Says how it went, and ends the program accordingly."""
        print("\n".join(self.failed))
        print(f"{self.asked} probes, {len(self.failed)} answered wrongly")
        raise SystemExit(1 if self.failed else 0)

    def ip(self, **fields):
        return self.network(**{"src": self.ours, "dst": self.theirs, **fields})

    def next_port(self):
        self.port += 1
        return self.port


# What a host says of itself, at times of its own: which groups it listens to (RFC 3810 §5.2), and that it looks for a
# neighbour, also for one that it knows and wants to hear of again (RFC 4861 §7.3.3).
UNASKED = ["icmp 143/0", "icmp 135/0"]
ADVERTISEMENT = "icmp 136/0"


def is_again(answer, first):
    """A SYN that is sent again: the machine was busy for longer than the host waits for what follows it."""
    if answer.layers()[1:2] != [TCP] or first.layers()[1:2] != [TCP]:
        return False
    answer, first = answer[TCP], first[TCP]
    return "S" in answer.flags and (answer.flags, answer.seq, answer.dport) == (first.flags, first.seq, first.dport)


def describe(packet):
    """An answer in a word: the flags of a segment, or type and code of an ICMP message."""
    for layer in packet.layers():
        if layer is TCP:
            return str(packet[TCP].flags)
        if layer.__name__ == "ICMP" or layer.__name__.startswith(("ICMPv6", "MLD")):
            return f"icmp {packet[layer].type}/{getattr(packet[layer], 'code', 0)}"
    return packet.summary()


class Conversation:
    """A connection to the HTTP server, whose client is this program."""

    def __init__(self, wire, options=()):
        self.wire, self.port = wire, wire.next_port()
        self.next, self.stamp = 1_000_000 * self.port % 2**32, 1
        answers = wire.ask(self.segment("S", ack=0, options=list(options)))
        wire.check("SYN of a conversation", answers, ["SA"])
        self.next += 1
        self.acked = answers[0][TCP].seq + 1
        # On a busy machine the host may have become impatient.
        wire.check("third segment of a handshake", wire.ask(self.segment("A")), [], ["SA"])

    def segment(self, flags, seq=None, ack=None, payload=b"", options=(), **fields):
        seq = self.next if seq is None else seq % 2**32
        ack = self.acked if ack is None else ack % 2**32
        tcp = TCP(sport=self.port, dport=80, flags=flags, seq=seq, ack=ack, options=list(options), **fields)
        return self.wire.ip() / tcp / Raw(payload)

    def check(self, name, segment, *expected):
        """What the segment is answered with; and the connection works as if it had not come."""
        self.wire.check(name, self.wire.ask(segment), *expected)
        self.check_works(name)

    def check_works(self, name, *segments):
        """A request (in these segments, or in one) gets its answer."""
        request = b"GET /small.bin HTTP/1.1\r\nHost: x\r\n\r\n"
        for segment in segments or [self.segment("PA", payload=request)]:
            self.wire.send(segment)
        self.wire.asked += 1
        for frame in self.wire.frames(time.monotonic() + PATIENCE_S):
            if TCP in frame and frame[TCP].dport == self.port and bytes(frame[TCP].payload).startswith(b"HTTP/1.1 200"):
                break
        else:
            self.wire.failed.append(f"{name}: a request after that is not answered")
        self.end(len(request))

    def end(self, sent=0):
        """An exact RST; what is still said before it arrives does not matter."""
        self.wire.ask(self.segment("R", seq=self.next + sent))

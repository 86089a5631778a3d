"""Namespaces, the wire between them, and captures: what scripts/record-pcaps records in and with."""
import ctypes, os, select, socket, struct, subprocess, sys, threading, time

from our_end import OurEnd

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
CLIENT_MAC, SERVER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


class Namespace:
    """A network namespace held by a descriptor: an end that is a kernel, with its sockets."""

    device = "eth0"

    def __init__(self):
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if LIBC.unshare(CLONE_NEWNET) != 0:
            sys.exit("record-pcaps: no permission to make a network namespace; run as root or inside `unshare -Urn`")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        LIBC.setns(before, CLONE_NEWNET)
        os.close(before)
        self.run("ip link set lo up")

    def __enter__(self):
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        LIBC.setns(self.fd, CLONE_NEWNET)

    def __exit__(self, *_):
        LIBC.setns(self.before, CLONE_NEWNET)
        os.close(self.before)

    def popen(self, command, **options):
        return subprocess.Popen(command.split(), preexec_fn=lambda: LIBC.setns(self.fd, CLONE_NEWNET), **options)

    def run(self, command):
        process = self.popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, errors = process.communicate()
        if process.returncode != 0:
            sys.exit(f"record-pcaps: {command}: {errors.decode().strip()}")

    def sysctl(self, name, value):
        """/proc/sys/net shows the namespace of the thread that opens it."""
        path = "/proc/sys/net/" + name.replace(".", "/")
        with self:
            if os.path.exists(path):
                with open(path, "w") as file:
                    file.write(str(value))

    def stream_socket(self):
        with self:
            return socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    def datagram_socket(self):
        with self:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def close(self):
        os.close(self.fd)


def pattern(length, salt=0):
    """Bytes that tell their position."""
    return bytes((((i * 167) ^ (i >> 8) * 59) + salt) & 0xFF for i in range(length))


def checksum(data):
    """The Internet checksum of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - ((total & 0xFFFF) + (total >> 16))


class Network:
    """client -- middle -- server, without offloads, so that captures show what a wire would carry."""

    def __init__(self, routed=False, delay_ms=0, drop=None, mtu=1500, client_link_mtu=None, ours=None, silent=False):
        """`ours` is the end ("client" or "server") that is our stack, on a TAP interface in the middle; `silent`, it waits to be started."""
        self.client, self.middle, self.server = Namespace(), Namespace(), Namespace()
        self.stopped = False
        self.addresses = ("10.77.1.1", "10.77.2.1") if routed else (CLIENT, SERVER)
        for which in ("all", "default"):
            self.middle.sysctl(f"ipv6.conf.{which}.disable_ipv6", 1)
        for name, address, mac in zip(("client", "server"), self.addresses, (CLIENT_MAC, SERVER_MAC)):
            router = address[:-1] + "2" if routed else None
            address = f"{address}/{30 if routed else 24}"
            if name == ours:
                os.close(getattr(self, name).fd)
                setattr(self, name, OurEnd(self.middle, name, mac, address, router, not silent))
            else:
                self.cable(getattr(self, name), name, mac, address, router, mtu)
            if routed:
                self.middle.run(f"ip addr add {router}/30 dev {name}")
            self.middle.run(f"ip link set {name} up")
        self.last = {}
        if client_link_mtu:
            self.middle.run(f"ip link set client mtu {client_link_mtu}")
        if routed:
            self.middle.sysctl("ipv4.ip_forward", 1)
        else:
            self.wire = threading.Thread(target=self.carry, args=(delay_ms / 1000, drop), daemon=True)
            self.wire.start()
        time.sleep(0.2)

    def cable(self, end, name, mac, address, router, mtu):
        """A kernel as an end, on veth."""
        self.middle.run(f"ip link add {name} mtu {mtu} type veth peer name eth0 address {mac} mtu {mtu}")
        self.middle.run(f"ip link set eth0 netns /proc/{os.getpid()}/fd/{end.fd}")
        self.middle.run(f"ethtool -K {name} gro off gso off tso off tx off rx off")
        end.run("ethtool -K eth0 gro off gso off tso off tx off rx off")
        end.sysctl("ipv6.conf.all.disable_ipv6", 1)
        end.sysctl("ipv4.tcp_congestion_control", "reno")
        end.sysctl("ipv4.tcp_no_metrics_save", 1)
        end.run(f"ip addr add {address} dev eth0")
        end.run("ip link set eth0 up")
        self.middle.run(f"ip link set {name} up")
        if router:
            end.run(f"ip route add default via {router}")

    def carry(self, delay, drop):
        """The wire in user space: frames cross after `delay` seconds unless `drop(direction, frame)`."""
        sockets = []
        with self.middle:
            for name in ("client", "server"):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                sock.bind((name, 0))
                sock.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
                sockets.append(sock)
        held = []
        while not self.stopped:
            wait = max(0, held[0][0] - time.monotonic()) if held else 0.05
            ready, _, _ = select.select(sockets, [], [], min(wait, 0.05))
            for sock in ready:
                frame, to = sock.recv(65536), sockets[1 - sockets.index(sock)]
                direction = "to_server" if sock is sockets[0] else "to_client"
                if not (drop and drop(direction, frame)):
                    self.last[direction] = frame
                    held.append((time.monotonic() + delay, to, frame))
            while held and held[0][0] <= time.monotonic():
                _, to, frame = held.pop(0)
                try:
                    to.send(frame)
                except OSError:
                    pass
        for sock in sockets:
            sock.close()

    def warm(self):
        """Resolves the neighbours before the capture starts."""
        client, address = (self.client, self.addresses[1])
        if isinstance(client, OurEnd):
            client, address = (self.server, self.addresses[0])
        with client.datagram_socket() as sock:
            sock.sendto(b"x", (address, 9))
        time.sleep(0.2)

    def forge_reset(self):
        """Sends the server a RST in the client's name, just behind the client's FIN, its last segment."""
        frame = bytearray(self.last["to_server"])
        tcp = frame[34:54]
        tcp[4:8] = struct.pack("!I", struct.unpack("!I", tcp[4:8])[0] + 1 & 0xFFFFFFFF)
        tcp[12:14] = bytes((5 << 4, 0x04))
        tcp[16:18] = b"\0\0"
        frame[16:18] = struct.pack("!H", 40)
        frame[24:26] = b"\0\0"
        frame[24:26] = struct.pack("!H", checksum(frame[14:34]))
        tcp[16:18] = struct.pack("!H", checksum(frame[26:34] + struct.pack("!HH", 6, 20) + tcp))
        with self.client:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sock.bind(("eth0", 0))
        sock.send(frame[:34] + tcp)
        sock.close()

    def close(self):
        self.stopped = True
        if hasattr(self, "wire"):
            self.wire.join()
        for end in (self.client, self.server, self.middle):
            end.close()


class Capture:
    """tcpdump at one end, from before the exchange until after it."""

    def __init__(self, namespace, path, rule="not ip6"):
        self.process = namespace.popen(f"tcpdump -Z root -i {namespace.device} -n -s 0 -U --immediate-mode --nano -w {path} {rule}",
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while b"listening on" not in self.process.stderr.readline():
            if self.process.poll() is not None:
                sys.exit("record-pcaps: tcpdump does not start")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        time.sleep(0.3)
        self.process.terminate()
        self.process.wait()

"""An end of the recorded network that is our stack: tests/src/bin/socket_calls.rs on a TAP interface in the middle
namespace, with sockets that the exchanges use as they use the kernel's."""
import os, socket, subprocess, sys, threading

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
ERRORS = {"ConnectionRefused": ConnectionRefusedError, "ConnectionReset": ConnectionResetError, "BrokenPipe": BrokenPipeError}


def program():
    candidates = [os.environ.get("SOCKET_CALLS")] + [os.path.join(ROOT, "target", kind, "socket_calls") for kind in ("debug", "release")]
    for path in candidates:
        if path and os.path.exists(path):
            return os.path.abspath(path)
    sys.exit("record-pcaps: no socket_calls; `cargo build -p outlive-tests --bin socket_calls`, or SOCKET_CALLS=PATH")


class OurEnd:
    """Our stack, silent until `start`."""

    def __init__(self, middle, device, mac, address, router, start=True):
        self.middle, self.device = middle, device
        self.process = middle.popen(" ".join([program(), device, mac, address] + ([router] if router else [])),
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lock = threading.Lock()
        self.answer()
        middle.run(f"ethtool -K {device} gro off gso off tso off tx off")
        if start:
            self.call("start")

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def answer(self):
        line = self.process.stdout.readline().split()
        if not line:
            sys.exit("record-pcaps: socket_calls ended")
        if line[0] == "error":
            raise ERRORS.get(line[1], OSError)(" ".join(line[1:]))
        return line[1:]

    def call(self, *words):
        with self.lock:
            self.ask(*words)
            return self.answer()

    def popen(self, command, **options):
        return self.middle.popen(command, **options)

    def run(self, command):
        self.middle.run(command)

    def sysctl(self, name, value):
        """Our defaults stay as they are."""

    def stream_socket(self):
        return OurSocket(self)

    def datagram_socket(self):
        return OurSocket(self, datagrams=True)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class OurSocket:
    """As much of a socket as the exchanges use."""

    def __init__(self, end, number=None, datagrams=False):
        self.end, self.number, self.datagrams = end, number, datagrams
        self.port, self.receive_buffer, self.later = 0, 0, []

    def setsockopt(self, level, name, value):
        if (level, name) == (socket.SOL_SOCKET, socket.SO_RCVBUF):
            self.receive_buffer = value
        elif (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.choose("reset-on-close")
        elif (level, name) == (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE):
            self.choose("keep-alive", value)

    def choose(self, *words):
        if self.number is None:
            self.later.append(words)
        else:
            self.end.call(words[0], self.number, *words[1:])

    def opened(self, number):
        self.number = number
        for words in self.later:
            self.choose(*words)

    def settimeout(self, _):
        pass

    setblocking = settimeout

    def bind(self, address):
        self.port = address[1]
        if self.datagrams:
            self.opened(self.end.call("datagrams", self.port)[0])

    def listen(self, _):
        self.opened(self.end.call("listen", self.port)[0])

    def accept(self):
        return OurSocket(self.end, self.end.call("accept", self.number)[0]), None

    def connect(self, address):
        if self.datagrams:
            self.bind((None, 0))
            self.end.call("peer", self.number, "%s:%d" % address)
        else:
            self.connect_ex(address)
            self.finish_connecting()

    def connect_ex(self, address):
        self.end.ask("connect", "%s:%d" % address, self.port, self.receive_buffer)

    def finish_connecting(self):
        self.opened(self.end.answer()[0])

    def sendall(self, data):
        self.end.call("send", self.number, data.hex())

    send = sendall

    def recv(self, length):
        return bytes.fromhex("".join(self.end.call("receive", self.number, length)))

    def sendto(self, data, address):
        self.end.call("send-to", self.number, "%s:%d" % address, data.hex())

    def recvfrom(self, _):
        source, data = self.end.call("receive-from", self.number)
        address, port = source.split(":")
        return bytes.fromhex(data), (address, int(port))

    def shutdown(self, _):
        self.end.call("shutdown", self.number)

    def close(self):
        if self.number is not None:
            self.end.call("close", self.number)
        self.number = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

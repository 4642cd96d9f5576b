"""Which of these sockets can be connected from here? Prints those.

Usage: reach.py ADDRESS:PORT..."""

import select
import socket
import sys

sockets = {}
for target in sys.argv[1:]:
    address, port = target.split(":")
    s = socket.socket()
    s.setblocking(False)
    try:
        s.connect((address, int(port)))
    except BlockingIOError:
        pass
    except OSError:
        continue
    sockets[s.fileno()] = (s, target)
poller = select.poll()
for number in sockets:
    poller.register(number, select.POLLOUT)
reached, waiting = [], set(sockets)
while waiting and (events := poller.poll(1000)):  # what answers at all answers at once
    for number, _ in events:
        s, target = sockets[number]
        poller.unregister(number)
        waiting.discard(number)
        if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            reached.append(target)
print(" ".join(sorted(reached)))

"""Cores for load: arrays of events over the acknowledged intake, as fast as it goes or paced."""

import time

import zmq

ARRAY, ARRAYS_UNANSWERED = 100, 50
ANSWER_S = 60


def event(events_id, object_id, n, key="t"):
    return (f'{{"event":{{"events_id":"{events_id}","object_id":{object_id}}},'
            f'"data":{{"n":{n},"{key}":{time.monotonic_ns()}}}}}')


class Intake:
    def __init__(self, endpoint):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)
        self.waiting = []  # events of each array without an answer, oldest first

    def close(self):
        self.socket.close()
        self.context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, events):
        self.socket.send(f"[{','.join(events)}]".encode())
        self.waiting.append(len(events))

    def read(self):
        if not self.socket.poll(ANSWER_S * 1000):
            raise TimeoutError("the intake does not answer")
        answer = self.socket.recv()
        accepted = answer.count(b'"accepted"')
        assert accepted == self.waiting.pop(0), answer[:500]

    def settle(self, unanswered=0):
        while len(self.waiting) > unanswered:
            self.read()


def push_all(endpoint, events):
    """Every event of an iterable, pipelined; returns events per second of being accepted."""
    count, began = 0, time.monotonic()
    with Intake(endpoint) as intake:
        array = []
        for text in events:
            array.append(text)
            count += 1
            if len(array) == ARRAY:
                intake.settle(ARRAYS_UNANSWERED)
                intake.send(array)
                array = []
        if array:
            intake.send(array)
        intake.settle()
    return round(count / (time.monotonic() - began))


def push_paced(endpoint, make_event, per_s, seconds):
    """make_event(i) at a steady rate; returns how many were sent."""
    count, began = int(per_s * seconds), time.monotonic()
    with Intake(endpoint) as intake:
        for i in range(count):
            time.sleep(max(0, began + i / per_s - time.monotonic()))
            intake.send([make_event(i)])
            while intake.waiting and intake.socket.poll(0):
                intake.read()
        intake.settle()
    return count

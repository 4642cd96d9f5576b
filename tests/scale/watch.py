"""What a process costs: memory, bytes written, files touched."""

import pathlib
import threading
import time


def pss_mb(pid):
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise AssertionError("no Pss")


def written_bytes(pid):
    """What it caused to be written to block devices."""
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    raise AssertionError("no write_bytes")


def files_state(folder):
    """Changes when any file of the folder is written, whatever the file system."""
    state = {}
    for path in pathlib.Path(folder).rglob("*"):
        stat = path.stat()
        state[str(path)] = (stat.st_size, stat.st_mtime_ns)
    return state


def is_still(folder, seconds=0.7):
    """Nothing in the folder is written meanwhile."""
    before = files_state(folder)
    time.sleep(seconds)
    return before == files_state(folder)


class Peak(threading.Thread):
    """The most memory that a process takes within a with block."""

    def __init__(self, pid):
        super().__init__()
        self.pid, self.most_mb, self.done = pid, 0, threading.Event()

    def run(self):
        while not self.done.wait(0.5):
            self.most_mb = max(self.most_mb, pss_mb(self.pid))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()

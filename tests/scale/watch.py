"""What a process costs: memory, bytes written, files touched."""

import pathlib


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

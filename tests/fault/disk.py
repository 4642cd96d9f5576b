"""What the shim (shim.c) is told, and what a power cut takes away."""

import contextlib
import mmap
import os
import pathlib
import random
import struct
import subprocess
import tempfile
import threading

SHIM_C = pathlib.Path(__file__).with_name("shim.c")
SWITCHES = ("sync_ms", "sync_failures", "clock_ms", "read_only", "refused", "name_gone", "unresolved",
            "table_unread", "unread", "commit_us")
NOTE = struct.Struct("<5q")  # magic, offset, old bytes, new bytes, old size
MAGIC = 0x70727673


def build_shim(folder):
    path = folder / "shim.so"
    subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra",
                    "-Werror", SHIM_C, "-o", path, "-ldl", "-lpthread"], check=True)
    return path


class Switches:
    """The switches of one process."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(8 * len(SWITCHES)))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 8 * len(SWITCHES))

    def set(self, name, value):
        struct.pack_into("<q", self.map, 8 * SWITCHES.index(name), value)

    def get(self, name):
        return struct.unpack_from("<q", self.map, 8 * SWITCHES.index(name))[0]

    def commits(self):
        """-> (began to sync, ended) of each, in seconds."""
        path = self.path.with_name(self.path.name + ".commits")
        data = path.read_bytes() if path.exists() else b""
        return [(began / 1e6, ended / 1e6) for began, ended in struct.iter_unpack("<qq", data)]


def read_notes(path):
    """The writes since the last sync, oldest first; a note cut short is of a write never made."""
    data, at, notes = path.read_bytes(), 0, []
    while at + NOTE.size <= len(data):
        magic, offset, old_bytes, new_bytes, old_size = NOTE.unpack_from(data, at)
        at += NOTE.size
        if magic != MAGIC or at + old_bytes + new_bytes > len(data):
            break
        notes.append((offset, data[at:at + old_bytes],
                      data[at + old_bytes:at + old_bytes + new_bytes], old_size))
        at += old_bytes + new_bytes
    return notes


def cut_power(undo_folder, chooser: random.Random, stores=""):
    """Takes back what was never synced of the stores whose paths begin so, file by file: all of it, or
    all but some pages that the disk happened to write. -> writes lost. Their processes do not run."""
    lost = 0
    for undo in sorted(undo_folder.iterdir()):
        store = pathlib.Path(undo.name.replace("%", "/"))
        if not str(store).startswith(str(stores)):
            continue
        notes = read_notes(undo)
        undo.unlink()
        if not notes or not store.exists():
            continue
        kept_share = chooser.choice((0, 0, 0.5, 0.9))
        fd = os.open(store, os.O_RDWR)
        for offset, old, _, old_size in reversed(notes):
            os.pwrite(fd, old, offset)
            os.ftruncate(fd, old_size)
        for offset, _, new, _ in notes:
            if new and chooser.random() < kept_share:
                os.pwrite(fd, new, offset)
            else:
                lost += 1
        os.close(fd)
    return lost


def can_mount():
    with tempfile.TemporaryDirectory() as folder:
        small = SmallDisk(pathlib.Path(folder) / "disk")
        small.close()
        return small.mounted


class SmallDisk:
    """A tmpfs on the folder, which `fill` leaves without a free byte. Needs root. Larger than what
    the stores write ahead and keep (16 MiB each of up to four): on a smaller one nothing would free it."""

    def __init__(self, folder, size="128m"):
        self.folder = folder
        self.lock, self.full = threading.Lock(), False
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder],
                              capture_output=True)
        self.mounted = done.returncode == 0

    def fill(self):
        with self.lock:
            self.full = True
            self.write_ballast()

    def free(self):
        with self.lock:
            self.full = False
            self.remove_ballast()

    @contextlib.contextmanager
    def room(self):
        """For what must be written although it is full."""
        with self.lock:
            self.remove_ballast()
            yield
            if self.full:
                self.write_ballast()

    def write_ballast(self):
        chunk = bytes(1 << 20)
        with open(self.folder / "ballast", "wb", buffering=0) as f:
            while len(chunk) >= 512:
                try:
                    if f.write(chunk) < len(chunk):
                        chunk = chunk[:len(chunk) // 2]
                except OSError:
                    chunk = chunk[:len(chunk) // 2]

    def remove_ballast(self):
        (self.folder / "ballast").unlink(missing_ok=True)

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=False)

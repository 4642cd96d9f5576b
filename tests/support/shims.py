"""Faults of the disk inside a process: a small library that LD_PRELOAD puts there, and a file that switches it."""

import pathlib
import subprocess

import pytest

from provisor import SLOW


class Shim:
    """tests/support/<name>.c; it acts while the file named by PROVISOR_<NAME> exists."""

    def __init__(self, name, folder, *libraries):
        if SLOW > 1:
            pytest.skip("a sanitizer must be loaded first")
        source = pathlib.Path(__file__).with_name(f"{name}.c")
        self.name, self.switch, self.path = name, folder / name, folder / f"{name}.so"
        subprocess.run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror",
                        source, "-o", self.path, "-ldl", *libraries], check=True)

    def env(self):
        return {"LD_PRELOAD": str(self.path), f"PROVISOR_{self.name.upper()}": str(self.switch)}

    def on(self, what=""):
        """what: as the library understands it."""
        part = self.switch.with_suffix(".part")
        part.write_text(what)
        part.rename(self.switch)

    def off(self):
        self.switch.unlink()

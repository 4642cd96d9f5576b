"""What the documentation says of the code is what the code says."""

import json
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[2]
PROVISOR = pathlib.Path(os.environ.get("PROVISOR_BIN", ROOT / "build/dev/bin")) / "provisor"


def provisor(*args):
    return subprocess.run([PROVISOR, *args], capture_output=True, text=True, check=True, cwd="/").stdout


def test_the_catalogue():
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\w+) \| (.*?) \| (.*?) \|$", (ROOT / "docs/protocol.md").read_text(), re.M)
    said = [(i, kind, object_id, when.removesuffix("; no data")) for i, kind, object_id, when in rows]
    events = [json.loads(line) for line in provisor("events", "--json").splitlines()]
    assert said == [(e["id"], e["object_kind"], e["object_id"], e["when"]) for e in events]


def test_every_sample_without_data_says_so():
    text = (ROOT / "docs/protocol.md").read_text()
    for line in provisor("events", "--sample", "all").splitlines():
        event = json.loads(line)
        row = re.search(rf"^\| `{event['event']['events_id']}` .*$", text, re.M)[0]
        assert row.endswith("; no data |") == (event["data"] == {})


def test_files_that_the_docs_name_exist():
    for doc in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", doc.read_text()):
            assert (doc.parent / target).exists(), f"{doc.name}: {target}"
        for path in re.findall(r"`((?:services|common|tests|scripts|docs)/[a-z_/]+\.[a-z]+)`", doc.read_text()):
            assert (ROOT / path).exists(), f"{doc.name}: {path}"


def test_every_setting_that_the_docs_name_exists():
    keys = {f'{k["section"]}.{k["key"]}' for k in map(json.loads, provisor("config", "--json").splitlines())}
    sections = "|".join({k.split(".")[0] for k in keys})
    for doc in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for key in re.findall(rf"`((?:{sections})\.[a-z_]+)", doc.read_text()):
            assert key in keys or key.endswith(".db"), f"{doc.name}: {key}"

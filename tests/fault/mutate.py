"""The harness tested: sabotaged variants of the pipeline, each of which must turn a round red.

A variant is one or two replacements in a copy of the tree, built in a temp folder: the tree once, then
what a variant changes. The rounds tried are the first seeds whose plan has the faults that reveal it."""

import concurrent.futures
import itertools
import pathlib
import shutil
import subprocess

import plan as planning

ROOT = pathlib.Path(__file__).parents[2]
TRIES = 8
SEEDS = 2000  # among which they are chosen

VARIANTS = {  # name: (faults of which a round needs one, [(file, text, replacement)])
    "answer before commit": (("slow sync emitter", "slow power cut"), [
        ("common/db/writer.c", 'CRASH_POINT("writer.before_commit");', "tell_committed(writer);"),
        ("common/db/writer.c", 'CRASH_POINT("writer.committed");\n    tell_committed(writer);', "")]),
    "synchronous off": (("slow sync emitter", "power cut"), [
        ("common/db/db_sqlite.c", "synchronous=FULL", "synchronous=OFF")]),
    "no dedup": (("cut receipts", "freeze receipts", "kill all"), [
        ("services/deliverer/custody.c", "if (!known) {\n        insert", "if (!known || known->committed) {\n        insert")]),
    "low_water ignored": (("stop router",), [
        ("services/deliverer/custody.c", "if (strcmp(id->text, source->low_water.text) < 0)",
         "if (source->low_water.text[0] == 1)")]),
    "lane order ignored": (("stop deliverer", "kill deliverer", "cut receipts"), [
        ("services/deliverer/settings.c", "handler->ordering == HANDLER_ORDER_OBJECT", "false")]),
    "row deleted before the mark": (("kill unmarked emitter", "kill all"), [
        ("services/emitter/settle.c", "item->deletes = true;\n    return SETTLE_WAIT;", "return SETTLE_DELETE;"),
        ("services/emitter/settle.c", "receipt == RECEIPT_MATCHED});", "false});")]),
    "receipt before custody": (("power cut deliverer", "crash deliverer writer.before_commit"), [
        ("services/deliverer/storage.c", "    d->running = TAKE(d->next);",
         "    for (size_t i = 0; i < d->next->n_events; i++) {\n"
         "        const commit_event_t *event = &d->next->events[i];\n"
         "        intake_receipt(d->intake, slice_of(event->node), event->partition, event->event->id,\n"
         "                       event->unmatched);\n    }\n    intake_send_receipts(d->intake);\n"
         "    d->running = TAKE(d->next);")]),
    "mark not contiguous": (("lose deliverer-audit", "lose emitter-audit"), [
        ("services/auditor/marks.c", "if (repeated >= 0 && repeated < audit->count) {",
         "if (repeated < 0) {\n        repeated = 0;\n        stage->accepted = audit->first - 1;\n    }\n"
         "    if (repeated < audit->count) {")]),
    "unknown handler taken for deleted": (("table unread deliverer",), [
        ("services/deliverer/intake.c", "intake->incoming.match.table_version > roster_version(d->roster)",
         "intake->incoming.match.table_version < 0"),
        ("services/deliverer/intake.c", "version <= roster_version(roster)", "version >= 0")]),
    "retry lost at restart": (("restart deliverer", "kill deliverer", "kill all"), [
        ("services/deliverer/restart.c", "    if (roster_gone(handler))\n        return;\n    lanes_delivery_t",
         "    if (roster_gone(handler) || row->attempts > 0)\n        return;\n    lanes_delivery_t")]),
}


def seeds_with(faults, seconds):
    """The first seeds that have one of them, fault by fault in turn; with two routers, so that a message
    can be late, and with as little else as there is until its end."""
    found = {fault: [] for fault in faults}
    for seed in range(SEEDS):
        plan = planning.make(seed, seconds)
        for fault in plan.faults:
            if plan.routers == 2 and str(fault) in found:
                until_s = fault.at_s + fault.lasts_s + 1
                found[str(fault)].append((sum(f.at_s < until_s for f in plan.faults), seed))
    ordered = [seed for row in itertools.zip_longest(*map(sorted, found.values())) for _, seed in filter(None, row)]
    return list(dict.fromkeys(ordered))[:TRIES]


class NotBuilt(Exception):
    """Of a variant; the text says why."""


class Workshop:
    """A copy of the tree in which variants are built, one after the other."""

    def __init__(self, folder):
        self.folder, self.tree, self.build_folder = folder, folder / "tree", folder / "build"
        self.tree.mkdir()
        for part in ("common", "services"):
            shutil.copytree(ROOT / part, self.tree / part)
        shutil.copy(ROOT / "CMakeLists.txt", self.tree)
        run("cmake", "-S", self.tree, "-B", self.build_folder, "-G", "Ninja", "-DPROVISOR_TESTS=OFF",
            "-DCMAKE_BUILD_TYPE=Debug")
        run("cmake", "--build", self.build_folder, "-j", "2")

    def variants(self, names):
        """-> (name, folder of its binaries or NotBuilt); while one is used the next one is built."""
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            building = pool.submit(self.build, names[0])
            for name, following in zip(names, [*names[1:], None]):
                binaries = building.result()
                if following:
                    building = pool.submit(self.build, following)
                yield name, binaries

    def build(self, name):
        """Only what it changes, and what the one before had changed."""
        replacements = VARIANTS[name][1]
        originals = {path: path.read_text() for path in {self.tree / file for file, _, _ in replacements}}
        binaries = self.folder / name.replace(" ", "-")
        try:
            for file, text, replacement in replacements:
                source = (self.tree / file).read_text()
                if source.count(text) != 1:
                    return NotBuilt(f"{file} does not have this once: {text}")
                (self.tree / file).write_text(source.replace(text, replacement))
            run("cmake", "--build", self.build_folder, "-j", "2")
            shutil.copytree(self.build_folder / "bin", binaries)
            return binaries
        except NotBuilt as e:
            return e
        finally:
            for path, text in originals.items():
                path.write_text(text)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotBuilt(next((line for line in done.stdout.splitlines() if "error" in line), done.stderr[-300:]))

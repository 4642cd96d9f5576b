"""The harness tested: sabotaged variants of the pipeline, each of which must turn a round red.

A variant is one or two replacements in a copy of the tree, built in a temp folder. The rounds tried are
the first seeds whose plan has the faults that reveal it."""

import pathlib
import shutil
import subprocess

import plan as planning

ROOT = pathlib.Path(__file__).parents[2]
TRIES = 6

VARIANTS = {  # name: (faults of which a round needs one, [(file, text, replacement)])
    "answer before commit": (("slow sync emitter", "slow power cut"), [
        ("common/db/writer.c", 'CRASH_POINT("writer.before_commit");', "tell_committed(writer);"),
        ("common/db/writer.c", 'CRASH_POINT("writer.committed");\n    tell_committed(writer);', "")]),
    "synchronous off": (("slow sync emitter", "power cut"), [
        ("common/db/db_sqlite.c", "synchronous=FULL", "synchronous=OFF")]),
    "no dedup": (("cut receipts", "freeze receipts", "kill all"), [
        ("services/deliverer/custody.c", "if (!known) {\n        insert", "if (!known || known->committed) {\n        insert")]),
    "low_water ignored": (("stop router", "freeze router-deliverer", "freeze receipts"), [
        ("services/deliverer/custody.c", "if (strcmp(id->text, source->low_water.text) < 0)",
         "if (source->low_water.text[0] == 1)")]),
    "lane order ignored": (("stop deliverer", "kill deliverer", "cut receipts"), [
        ("services/deliverer/settings.c", "handler->ordering == HANDLER_ORDER_OBJECT", "false")]),
    "row deleted before the mark": (("kill unmarked emitter", "kill all"), [
        ("services/emitter/settle.c", "item->deletes = true;\n    return SETTLE_WAIT;", "return SETTLE_DELETE;"),
        ("services/emitter/settle.c", "receipt == RECEIPT_MATCHED});", "false});")]),
    "receipt before custody": (("slow power cut", "crash deliverer writer.before_commit"), [
        ("services/deliverer/storage.c", "    d->running = TAKE(d->next);",
         "    for (size_t i = 0; i < d->next->n_events; i++) {\n"
         "        const commit_event_t *event = &d->next->events[i];\n"
         "        intake_receipt(d->intake, slice_of(event->node), event->partition, event->event->id,\n"
         "                       event->unmatched);\n    }\n    intake_send_receipts(d->intake);\n"
         "    d->running = TAKE(d->next);")]),
    "mark before commit": (("slow power cut", "power cut"), [
        ("services/auditor/marks.c", "    stage->collect |= ", "    stage->row.number = stage->accepted;\n    stage->collect |= ")]),
    "unknown handler taken for deleted": (("kill auditor", "stop emitter", "clock emitter"), [
        ("services/deliverer/intake.c", "intake->incoming.match.table_version > roster_version(d->roster)",
         "intake->incoming.match.table_version < 0"),
        ("services/deliverer/intake.c", "version <= roster_version(roster)", "version >= 0")]),
    "retry lost at restart": (("restart deliverer", "kill deliverer", "kill all"), [
        ("services/deliverer/restart.c", "    if (roster_gone(handler))\n        return;\n    lanes_delivery_t",
         "    if (roster_gone(handler) || head->attempts > 0)\n        return;\n    lanes_delivery_t")]),
}


def seeds_with(faults):
    """The first seeds that have one of them, fault by fault in turn."""
    seeds = []
    for fault in faults * TRIES:
        for seed in range(200):
            names = [" ".join(f) for f in planning.deal(seed)]
            if fault in names and seed not in seeds:
                seeds.append(seed)
                break
    return seeds[:TRIES]


def build(folder, replacements):
    """-> the folder of the binaries."""
    tree = folder / "tree"
    tree.mkdir()
    for part in ("common", "services"):
        shutil.copytree(ROOT / part, tree / part)
    cmake = (ROOT / "CMakeLists.txt").read_text()
    (tree / "CMakeLists.txt").write_text(cmake.replace("add_subdirectory(tests)", ""))
    for file, text, replacement in replacements:
        source = (tree / file).read_text()
        if source.count(text) != 1:
            raise SystemExit(f"{file} does not have this once: {text}")
        (tree / file).write_text(source.replace(text, replacement))
    for command in (["cmake", "-S", tree, "-B", folder / "build", "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug"],
                    ["cmake", "--build", folder / "build", "-j", "2"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout[-3000:] + done.stderr[-1000:])
    return folder / "build/bin"

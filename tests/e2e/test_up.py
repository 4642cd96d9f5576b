"""provisor up as the one that keeps the stages of a machine running."""

import os
import subprocess
import threading

import provisor
import pytest
import zmq


class Up:
    """`provisor up` of a pipeline, started again as often as a test likes."""

    def __init__(self, pipeline):
        self.pipeline = pipeline
        self.starts = 0
        self.process = None

    def start(self):
        self.starts += 1
        self.log = self.pipeline.dir / f"up{self.starts}.log"
        self.process = subprocess.Popen(
            [provisor.BIN / "provisor", "up", "--data", str(self.pipeline.data)],
            env={**os.environ, **self.pipeline.env}, stdin=subprocess.DEVNULL,
            stderr=self.log.open("wb"))
        return self

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_ready(self):
        provisor.wait_until(lambda: "event=ready" in self.text() or self.process.poll() is not None,
                            timeout=40, what="up is ready")
        assert self.process.poll() is None, self.text()

    def stop(self):
        self.process.terminate()
        return self.process.wait(60 * provisor.SLOW)


@pytest.fixture
def up(make_pipeline):
    pipeline = make_pipeline(start=False, routers=1, deliverers=1,
                             env={"PROVISOR_PROVISOR_STOP_DEADLINE": "3s"})
    up = Up(pipeline)
    yield up
    if up.process and up.process.poll() is None:
        up.stop()


def test_a_data_folder_without_a_folder_above_is_told_how_to_make_it(tmp_path):
    data = tmp_path / "none/data"
    done = subprocess.run([provisor.BIN / "provisor", "up"], env={**os.environ, "PROVISOR_DATA": str(data)},
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and f"mkdir -p '{data}'" in done.stderr
    assert not data.parent.exists()


def test_killed_and_started_at_once_it_waits_for_the_stages_that_are_left(up, handler):
    answer = threading.Event()
    server = handler(respond=lambda request: answer.wait(30) and 200)
    up.start().wait_ready()
    up.pipeline.add_handler(server.url)
    with up.pipeline.core() as core:
        core.accept([provisor.event(object_id=1)])
    server.wait(1)  # its answer is outstanding: the deliverer drains until its deadline
    killed = up.process.pid
    up.process.kill()
    up.process.wait()
    up.start().wait_ready()
    assert "event=stage_waits stage=deliverer" in up.text()
    assert f"pid {killed}" in up.text()
    answer.set()
    server.wait(2)
    assert up.stop() == 0


def test_stopped_in_order_it_leaves_nothing_to_wait_for(up):
    up.start().wait_ready()
    assert up.stop() == 0
    other = Up(up.pipeline)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as holder:
        port = holder.bind_to_random_port("tcp://127.0.0.1")
        up.pipeline.env["PROVISOR_EMITTER_INTAKE"] = f"tcp://127.0.0.1:{port}"
        other.start()
        assert other.process.wait(20 * provisor.SLOW) == 75
        assert "in use" in other.text() and "stage_waits" not in other.text()


def test_a_lock_that_is_a_link_is_not_written_through(up):
    elsewhere = up.pipeline.dir / "elsewhere"
    elsewhere.write_text("precious")
    up.pipeline.data.mkdir(exist_ok=True)
    (up.pipeline.data / "up.lock").symlink_to(elsewhere)
    assert up.start().process.wait(20 * provisor.SLOW) == 1
    assert "up.lock" in up.text() and elsewhere.read_text() == "precious"

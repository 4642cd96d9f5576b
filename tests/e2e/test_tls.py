"""HTTPS to real handlers, HTTP after a stall, as seen in the records of a real deliverer."""

import pathlib
import re
import signal
import ssl
import subprocess
import time

import pytest

from deliverer_peers import Deliverer
from provisor import event, wait_until


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with NAME.pem and NAME.key; the names are in certificates.sh."""
    folder = tmp_path_factory.mktemp("certificates")
    script = pathlib.Path(__file__).parents[1] / "support" / "certificates.sh"
    subprocess.run([script, folder], check=True, timeout=60)
    return folder


@pytest.fixture
def deliverer(tmp_path):
    d = Deliverer(tmp_path)
    d.start()
    yield d
    d.close()


@pytest.fixture
def https(certificates, handler):
    """https("good", client_ca=None, respond=...) -> a Handler with that certificate."""
    def make(name, client_ca=None, newest=None, **kwargs):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if newest:
            context.set_ciphers("DEFAULT@SECLEVEL=0")  # else OpenSSL itself refuses the old ones
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        if client_ca:
            context.load_verify_locations(certificates / f"{client_ca}.pem")
            context.verify_mode = ssl.CERT_REQUIRED
        return handler(tls=context, **kwargs)
    return make


def add(deliverer, url, *args, **kwargs):
    """Adds a handler and waits until the deliverer has read it."""
    id_ = deliverer.add_handler(url, *args, **kwargs)
    wait_until(lambda: id_ in {h["handler_id"] for h in deliverer.control("handlers")["handlers"]},
               what="the handler")
    return id_


def test_a_private_ca_works_when_configured(deliverer, https, certificates):
    h = https("good")
    id_ = add(deliverer, h.url, "--ca-file", str(certificates / "ca.pem"))
    deliverer.send_some(20, [id_])
    deliverer.wait_records("delivered", 20)
    assert h.count() == 20


@pytest.mark.parametrize("name, ca, error", [
    ("wrong-name", "ca", "certificate is for another name (not for 127.0.0.1)"),
    ("expired", "ca", "certificate has expired (127.0.0.1:PORT)"),
    ("future", "ca", "certificate is not valid yet (127.0.0.1:PORT)"),
    ("self-signed", "ca", "self-signed certificate (127.0.0.1:PORT)"),
    ("unknown-ca", "ca", "certificate's issuer is not trusted (127.0.0.1:PORT)"),
    ("good", None, "certificate's issuer is not trusted (127.0.0.1:PORT)"),
])
def test_a_bad_certificate_fails_with_an_error_that_says_which(
        deliverer, https, certificates, name, ca, error):
    h = https(name)
    args = ("--ca-file", str(certificates / f"{ca}.pem")) if ca else ()
    id_ = add(deliverer, h.url, "--retry", "10ms", *args)
    deliverer.send_some(1, [id_])
    record = deliverer.wait_records("exhausted", 1)[0]
    assert record["error"] == error.replace("PORT", str(h.port))
    assert "http_status" not in record
    assert h.count() == 0
    insecure = add(deliverer, h.url, "--tls", "insecure", name="insecure")
    deliverer.send_some(1, [insecure])
    deliverer.wait_records("delivered", 1)
    assert h.count() == 1


@pytest.mark.parametrize("newest, taken", [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
def test_tls_before_1_2_is_refused(deliverer, https, certificates, newest, taken):
    h = https("good", newest=newest)
    id_ = add(deliverer, h.url, "--retry", "10ms", "--ca-file", str(certificates / "ca.pem"))
    deliverer.send_some(1, [id_])
    record = deliverer.wait_records("delivered" if taken else "exhausted", 1)[0]
    assert taken or re.search("protocol|version", record["error"]), record["error"]
    assert h.count() == taken


def test_a_client_certificate_is_shown(deliverer, https, certificates):
    h = https("good", client_ca="ca")
    ca = ("--ca-file", str(certificates / "ca.pem"))
    own = ("--cert-file", str(certificates / "client.pem"),
           "--key-file", str(certificates / "client.key"))
    with_it = add(deliverer, h.url, *ca, *own, name="with")
    without = add(deliverer, h.url, "--retry", "10ms", *ca, name="without")
    deliverer.send_some(3, [with_it])
    deliverer.wait_records("delivered", 3)
    deliverer.send_some(1, [without])
    record = deliverer.wait_records("exhausted", 1)[0]
    assert re.search("certificate required|client certificate", record["error"])
    assert h.count() == 3


def test_an_answer_that_came_during_a_stall_counts(deliverer, handler):
    """The deliverer is stopped until all its deadlines have passed. What the handler answered in
    time is read first: nothing is sent twice (P5)."""
    h = handler(respond=lambda request: (time.sleep(0.05), 200)[1])
    id_ = add(deliverer, h.url, "--timeout", "3s", "--retry", "10ms,10ms,10ms")
    deliverer.send_some(16, [id_], objects=16)
    deliverer.wait_records("delivered", 16)  # connections are there
    deliverer.send_some(16, [id_], objects=16)
    h.wait(32)
    deliverer.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(3.5)  # the stall itself
    finally:
        deliverer.process.send_signal(signal.SIGCONT)
    deliverer.wait_records("delivered", 32)
    assert h.count() == 32
    assert not deliverer.of("retrying")


def test_the_log_says_which(pipeline, https, certificates):
    """The whole way: pushed by a core, seen in the execution log."""
    good, expired = https("good"), https("expired")
    ca = ("--ca-file", str(certificates / "ca.pem"))
    pipeline.add_handler(good.url, *ca, name="good")
    pipeline.add_handler(expired.url, *ca, "--retry", "none", name="expired")
    wait_until(lambda: pipeline["router"].control("stats")["stats"]["handlers"] == 2,
               what="the router has read the handlers")
    with pipeline.core() as core:
        id_ = core.push(event())["id"]
    rows = wait_until(lambda: (r := [row for row in pipeline.cli_json("log") if row["event_id"] == id_])
                      and len(r) == 2 and r, what="two attempts in the log")
    by_handler = {row["handler"]: row for row in rows}
    assert by_handler["good"]["outcome"] == "delivered"
    assert by_handler["expired"]["outcome"] == "exhausted"
    assert by_handler["expired"]["error"] == f"certificate has expired (127.0.0.1:{expired.port})"

"""A web UI in a process of its own, over an instance that a run filled, and a headless browser that looks at it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from tests import patience

ROOT = Path(__file__).parents[2]
START_SECONDS = patience.SECONDS
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _answers(url):
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status == 200
    return False


def wait_until_served(url, process):
    """Return once ``url`` answers; a process that ended, or ten minutes, is an error."""
    pause = threading.Event()
    for _ in range(START_SECONDS * 2):
        if _answers(url):
            return
        assert process.poll() is None, f"the web server ended with {process.returncode} before {url} answered"
        pause.wait(0.5)
    raise AssertionError(f"{url} did not answer within {START_SECONDS} s")


def default_signals():
    # dagster copies an ignored SIGINT, which shells give to background jobs, to SIGTERM: nothing could stop it then
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def web_ui(*, dagster_home, codeft_home, module="codeft_assets.definitions", arguments=(), log=subprocess.DEVNULL):
    """Serve the code location over the given instance on a free port of the loopback interface; yield its address."""
    port = free_port()
    environment = os.environ | {
        "DAGSTER_HOME": str(dagster_home),
        "CODEFT_HOME": str(codeft_home),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "dagster_webserver", "--host", "127.0.0.1", "--port", str(port), "-m", module]
    process = subprocess.Popen(
        [*command, *arguments], env=environment, cwd=ROOT, stdout=log, stderr=log, preexec_fn=default_signals
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_served(f"{url}/server_info", process)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


@contextlib.contextmanager
def browser_page(*, dark=False, width=1440, height=900):
    """Yield a page of a headless Chromium, and the list that collects what its console calls an error."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "no Chromium found: install Debian's package chromium, or name one in the variable CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        theme = '"DARK"' if dark else '"LIGHT"'
        page.add_init_script(f"localStorage.setItem('dagster.themeTest', '{theme}')")
        errors = []
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page, errors
        browser.close()

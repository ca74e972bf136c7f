"""A real headless Chromium, driven over the WebDriver protocol (W3C): no package is needed, only Debian's chromium and
chromium-driver."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest
from needs import required

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1100,900",
)  # fmt: skip


class Browser:
    def __init__(self, port, chromium, profile):
        self.base = f"http://127.0.0.1:{port}"
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.base += "/session/" + self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()[:500]) from None

    def open(self, path):
        self.call("POST", "/url", {"url": path.as_uri()})

    def prefer(self, scheme):
        """Makes the page see a user who prefers 'light' or 'dark'."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self.call("POST", "/goog/cdp/execute", command)

    def run(self, script):
        """What the body of a JavaScript function returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def click(self, selector):
        found = self.call("POST", "/element", {"using": "css selector", "value": selector})
        self.call("POST", f"/element/{next(iter(found.values()))}/click", {})

    def press(self, *keys):
        """Keys by their WebDriver code, one after the other, where the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def console(self):
        """Messages of the console so far, but for those of no importance."""
        return [line for line in self.call("POST", "/se/log", {"type": "browser"}) if line["level"] != "DEBUG"]

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


TAB, RIGHT, DOWN = "\ue004", "\ue014", "\ue015"


@contextlib.contextmanager
def chromium(profile):
    """A browser with an empty profile in the folder `profile`; the test is skipped where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        if required("chromium"):
            pytest.fail("no chromium and chromedriver here")
        pytest.skip("no chromium and chromedriver here")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([driver, f"--port={port}"], env={**os.environ, "no_proxy": "127.0.0.1"}, **quiet)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        browser = Browser(port, binary, profile)
        yield browser
        browser.call("DELETE", "")
    finally:
        process.kill()
        process.wait()

"""The page at `/` in headless Chromium: a dropped picture, the webcam, what its policy allows; and openapi.json."""

import base64
import json
import re
import shutil
import subprocess
from contextlib import contextmanager

import httpx
import pytest
from websockets.sync.client import connect

from emonet_fast import taxonomy

from .conftest import until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DROP = """{
const data = new DataTransfer();
data.items.add(new File([Uint8Array.from(atob("%s"), (c) => c.charCodeAt(0))], "a.jpg"));
document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
}"""
SCORES = """JSON.stringify([...document.querySelectorAll(".score")].map(
    (line) => [line.dataset.slug, line.children[2].textContent]))"""


class Tab:
    """A page of a browser, driven by Chromium's own protocol."""

    def __init__(self, socket):
        self._socket, self._number = socket, 0

    def run(self, script):
        self._number += 1
        ask = {"id": self._number, "method": "Runtime.evaluate", "params": {"expression": script, "awaitPromise": True}}
        self._socket.send(json.dumps(ask))
        while (answer := json.loads(self._socket.recv(60))).get("id") != self._number:
            pass
        assert "exceptionDetails" not in answer["result"], answer
        return answer["result"]["result"].get("value")

    def scores(self):
        return dict(json.loads(self.run(SCORES)))

    def said(self):
        return self.run("document.getElementById('said').textContent")


@contextmanager
def opened(url, folder):
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    process = subprocess.Popen(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
            f"--user-data-dir={folder}", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", url,
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    port = folder / "DevToolsActivePort"
    try:
        until(lambda: port.exists() and "\n" in port.read_text())
        there = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        until(lambda: any(one["url"].startswith(url) for one in httpx.get(there).json()))
        target = next(one for one in httpx.get(there).json() if one["url"].startswith(url))
        with connect(target["webSocketDebuggerUrl"], max_size=None, open_timeout=60) as socket:
            tab = Tab(socket)
            until(
                lambda: tab.run("document.readyState == 'complete' && document.querySelectorAll('.score').length > 0")
            )
            yield tab
    finally:
        process.kill()
        process.wait()


def test_the_page_scores_what_is_dropped_and_what_the_webcam_sees(served, pictures, tmp_path):
    with opened(f"{served.url}/", tmp_path) as tab:
        assert set(tab.scores().values()) == {"–"}
        tab.run(DROP % base64.b64encode(pictures[0]).decode())
        until(lambda: "softmax" in tab.said())
        answer = served.client.post("/v1/score", content=pictures[0], headers={"Content-Type": "image/jpeg"}).json()
        softmax = answer["rows"][0]["softmax"]
        shown = tab.scores()
        assert set(shown) == set(softmax)
        for slug, value in softmax.items():
            assert abs(float(shown[slug].rstrip("%")) / 100 - value) <= (0.0051 if value >= 0.0995 else 0.00051)
        tab.run(DROP % base64.b64encode(b"<img src=x onerror=alert(1)>").decode())
        until(lambda: "not an image" in tab.said())
        assert "<img" in tab.said()  # as text
        assert tab.run("document.querySelectorAll('#said *').length") == 0
        assert set(tab.scores().values()) == {"–"}
        tab.run("document.getElementById('webcam').click()")
        until(lambda: "softmax" in tab.said())
        until(lambda: served.service.streams == 1)
        tab.run("document.getElementById('webcam').click()")
        until(lambda: served.service.streams == 0)
        # Nothing of the page may come from elsewhere, nor be made of a text.
        assert tab.run("(() => { try { document.body.innerHTML = 'x'; return 1 } catch { return 0 } })()") == 0


def test_the_page_has_all_emotions_one_script_and_nothing_from_elsewhere(served):
    answer = served.client.get("/")
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    text = answer.text
    assert len(re.findall(r"data-slug=", text)) == 40
    assert {one.slug for one in taxonomy.DIMENSIONS if one.is_emotion} == set(re.findall(r'data-slug="(\w+)"', text))
    assert text.count("<script>") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)', text)
    assert len(re.findall(r"script-src 'sha256-[\w+/=]{44}'", text)) == 1


def test_openapi_names_every_route_and_its_example_has_the_form_of_answers(served, pictures):
    document = served.client.get("/openapi.json").json()
    routes = {route.path for route in served.server.config.app.routes}
    assert set(document["paths"]) == routes
    schema = document["paths"]["/v1/score"]["post"]["responses"]["200"]["content"]["application/json"]
    unfit = document["paths"]["/v1/score"]["post"]["responses"]["422"]["content"]["application/json"]["example"]
    assert served.client.post("/v1/score", params={"top": 99}, content=b"").json() == unfit
    answer = served.client.post("/v1/score", params={"top": 1}, files=[("f", ("a", pictures[0]))]).json()
    for one in (answer, schema["example"]):
        assert set(one) == set(schema["schema"]["required"])
        for row in one["rows"]:
            known = schema["schema"]["properties"]["rows"]["items"]["properties"]
            assert set(row) <= set(known)
            assert row["status"] in known["status"]["enum"]

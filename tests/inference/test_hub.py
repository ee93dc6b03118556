"""Folders of the Hugging Face Hub, and sending one to a Hub on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from inference.test_plain_module import IMAGES, encoder
from ssl_kedro.core.errors import InputError
from ssl_kedro.core.extras import NotInstalledError
from ssl_kedro.inference.compact import GateUsage, compact, dense_network
from ssl_kedro.inference.hub import ModelCard, push_to_hub, write_hub_folder
from ssl_kedro.inference.plain_module import load

CARD = ModelCard(
    title="A small encoder",
    summary="It finds like images.",
    data="Generated textures.",
    recipe={"train.epochs": "6", "odd|name": "x"},
    figures={"Front": [["network", "ms"], ["dense", "0.1"]]},
    licence="mit",
)


def test_the_folder_has_what_the_hub_reads_and_computes_the_same(tmp_path: Path) -> None:
    source = encoder()
    report = write_hub_folder(dense_network(source), tmp_path / "hub", CARD, IMAGES)
    names = {file.name for file in (tmp_path / "hub").iterdir()}
    assert names == {
        "README.md", "config.json", "model.py", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip
    assert report.bytes == sum(file.stat().st_size for file in (tmp_path / "hub").iterdir())
    images = torch.from_numpy(IMAGES)
    found = load(tmp_path / "hub")(images)
    torch.testing.assert_close(found, source.dense(images), rtol=1e-4, atol=1e-4)
    assert load_file(tmp_path / "hub/model.safetensors")["stem.weight"].shape == (8, 3, 3, 3)
    preparation = json.loads((tmp_path / "hub/preprocessor_config.json").read_text())
    assert preparation["size"] == {"height": 32, "width": 32}
    assert preparation["rescale_factor"] * 255 == pytest.approx(1)


def test_the_card_has_front_matter_code_that_runs_and_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hub_folder(dense_network(encoder()), tmp_path / "hub", CARD, IMAGES)
    _, front, page = (tmp_path / "hub/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "mit",
        "library_name": "pytorch",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["self-supervised-learning", "image-feature-extraction"],
    }
    assert page.startswith("\n# A small encoder\n\nIt finds like images.\n")
    assert "| odd\\|name | x |" in page
    assert "## Front\n\n| network | ms |\n|---|---|\n| dense | 0.1 |" in page
    code = page.split("```python\n")[1].split("```")[0]
    code = code.replace(
        "from model import load", "from ssl_kedro.inference.plain_module import load"
    )
    exec(code.replace("load()", f"load({str(tmp_path / 'hub')!r})") + "\nprint(features.shape)", {})
    assert capsys.readouterr().out == "torch.Size([1, 64])\n"


def test_a_network_with_gates_is_refused(tmp_path: Path) -> None:
    source = encoder()
    blocks = source.cost().blocks
    usage = GateUsage(
        "i", 2, tuple(b.name for b in blocks), tuple(np.ones(b.channels, int) for b in blocks)
    )
    with pytest.raises(ValueError, match="found one with gates"):
        write_hub_folder(compact(source, usage), tmp_path / "hub", CARD, IMAGES)
    assert not (tmp_path / "hub").exists()


class Hub(BaseHTTPRequestHandler):
    """Takes repositories and commits as the real one does; what it was sent is in ``taken``."""

    taken: dict[str, Any]
    refuses: bool

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        address = f"http://{self.headers['Host']}/me/model"
        answer: dict[str, Any] = {}
        if self.refuses:
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            self.taken["made"] = json.loads(body)
            answer = {"url": address}
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            answer = {
                "files": [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in files
                ]
            }
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.taken[line["value"]["path"]] = content
            answer = {"commitOid": "0" * 40, "commitUrl": f"{address}/commit/0", "success": True}
        return self.answer(200, answer)

    def do_GET(self) -> None:
        if self.refuses:
            return self.answer(401, {"error": "Invalid username or password."})
        return self.answer(200, {"id": "me/model", "sha": "0" * 40, "siblings": []})

    def answer(self, status: int, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """A Hub on this machine, which the client is told to use."""
    handler = type("OneHub", (Hub,), {"taken": {}, "refuses": False})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", address)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_folder_is_sent_whole_to_a_private_repository(hub: type[Hub], tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    write_hub_folder(dense_network(encoder()), folder, CARD, IMAGES)
    assert push_to_hub(folder, "me/model").endswith("/me/model/commit/0")
    made = hub.taken.pop("made")
    assert made["name"] == "model"
    assert made.get("visibility") == "private" or made.get("private") is True, made
    assert hub.taken == {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_hub_that_does_not_take_it_is_told_of(hub: type[Hub], tmp_path: Path) -> None:
    hub.refuses = True
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"me/model: found .*401.*expected .* taken by the Hub"):
        push_to_hub(tmp_path, "me/model")


def test_without_the_library_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'ssl_kedro\[huggingface\]'"):
        push_to_hub(tmp_path, "me/model")

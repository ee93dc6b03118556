"""What a manifest says of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_kedro.reporting import manifest

INTEL = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu avx2 avx512_vnni amx_int8 sse
processor\t: 1
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu avx2 avx512_vnni amx_int8 sse
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp bf16\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "name", "instructions"),
    [
        (INTEL, "Some CPU @ 2.00GHz", ["avx2", "avx512_vnni", "amx_int8"]),
        (ARM, "", ["asimddp", "bf16"]),
        (None, "", []),
    ],
)
def test_the_processor_is_named_with_what_low_precisions_need(
    text: str | None,
    name: str,
    instructions: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "cpuinfo"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(manifest, "_PROCESSOR", file)
    monkeypatch.setattr("platform.processor", lambda: "")
    found = manifest.processor()
    assert (found["name"], found["instructions"]) == (name, instructions)
    assert found["threads"] >= 1

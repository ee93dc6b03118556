from pathlib import Path

from ssl_kedro.core.members import digest


def test_a_digest_changes_with_any_source(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    for name in ("a.py", "part/b.py"):
        (tmp_path / name).write_text("one = 1")
    before = digest(tmp_path)
    assert digest(tmp_path) == before
    (tmp_path / "part/b.py").write_text("one = 2")
    assert digest(tmp_path) != before

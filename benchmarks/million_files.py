"""A folder of a million image files: seconds, files/s and peak memory of listing and storing it.

python benchmarks/million_files.py --files 1000000 --folder /tmp/million [--workers 2] [--kill]
    [--hard-links]

Files are written where the folder is missing (8 x 8 px PNG, 1,000 class folders, a file and an
inode each; with --hard-links one inode for each 60,000), and stay. With --kill the first process is
killed when it has stored some 40 %, and another finishes its store.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from PIL import Image

CLASSES = 1000
LINKS_AN_INODE = 60_000
PROGRAM = """
import sys, time
from ssl_kedro.images.load import DataConfig, count_images, load_images

root, cache, workers, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
config = DataConfig(source="folder", root=root, cache_dir=cache, workers=workers, size=size,
                    memory_limit_mb=1.0, eval_fraction=0.01)
began = time.perf_counter()
print("count", count_images(config, "train", 0), time.perf_counter() - began, flush=True)
began = time.perf_counter()
images = load_images(config, "train", 0)
print("load", len(images), time.perf_counter() - began, flush=True)
"""


def write_files(folder: Path, count: int, hard_links: bool) -> None:
    """PNGs of 8 x 8 px, each of another colour, in class folders."""
    buffer, file = io.BytesIO(), folder
    for index in range(count):
        if index < CLASSES:
            (folder / f"class_{index:04d}").mkdir(parents=True)
        previous, file = (
            file,
            folder / f"class_{index % CLASSES:04d}" / f"{index // CLASSES:06d}.png",
        )
        if hard_links and index % LINKS_AN_INODE:
            os.link(previous, file)
            continue
        buffer.seek(0)
        colour = (index % 256, index // 256 % 256, index // 65536)
        Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
        buffer.truncate()
        file.write_bytes(buffer.getbuffer())


class Watched:
    """A process that stores the folder, and the largest resident memory of it and its workers."""

    def __init__(self, given: argparse.Namespace, cache: Path) -> None:
        arguments = [str(given.folder), str(cache), str(given.workers), str(given.size)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True
        )
        self._tree = psutil.Process(self.process.pid)
        self.peak = {"all": 0, "main": 0, "a worker": 0}

    def look(self) -> None:
        """Note what the processes hold now."""
        try:
            main = self._tree.memory_info().rss
            workers = [child.memory_info() for child in self._tree.children()]
        except psutil.Error:
            return
        now = {
            "main": main,
            "a worker": max((one.rss for one in workers), default=0),
            "all": main + sum(one.rss for one in workers),
        }
        self.peak |= {name: max(self.peak[name], value) for name, value in now.items()}

    def wait(self, cache: Path, kill_at_bytes: float = float("inf")) -> None:
        """Until it ends, or kill it when its store has so many bytes."""
        while self.process.poll() is None:
            self.look()
            if any(p.stat().st_size > kill_at_bytes for p in cache.glob(".*.part/images.npy")):
                self.process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)

    def report(self, label: str) -> None:
        """Print what it said, and the peaks."""
        printed = self.process.communicate()[0].splitlines()
        for what, count, seconds in map(str.split, printed):
            rate = int(count) / float(seconds)
            print(f"{label}, {what}: {count} files, {float(seconds):.1f} s, {rate:,.0f} files/s")
        peaks = ", ".join(f"{name} {value / 2**20:.0f} MiB" for name, value in self.peak.items())
        print(f"{label}, peak resident memory: {peaks}", flush=True)


def stored_digest(cache: Path) -> str:
    """SHA-256 of the store's files."""
    found = hashlib.sha256()
    for path in sorted(cache.glob("folder-*/*")):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def main() -> None:
    """Whole, and killed and continued."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=8)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--hard-links", action="store_true")
    given = parser.parse_args()
    if not given.folder.exists():
        began = time.perf_counter()
        write_files(given.folder, given.files, given.hard_links)
        print(f"written in {time.perf_counter() - began:.0f} s", flush=True)
    digests = {}
    for mode in ("whole", "killed")[: 1 + given.kill]:
        cache = given.folder.with_name(f"{given.folder.name}-{mode}")
        shutil.rmtree(cache, ignore_errors=True)
        if mode == "killed":
            first = Watched(given, cache)
            first.wait(cache, 0.4 * given.files * 3 * given.size**2)
            first.report("killed")
            (part,) = cache.glob(".*.part/journal.jsonl")
            kept = part.read_text().splitlines()[-1].split(",")[0].lstrip("[")
            print(f"kept: {kept} files")
        last = Watched(given, cache)
        last.wait(cache)
        last.report("continued" if mode == "killed" else mode)
        digests[mode] = stored_digest(cache)
        again = Watched(given, cache)
        again.wait(cache)
        again.report("found again")
        shutil.rmtree(cache)
    print(f"SHA-256 of the stores: {digests}")
    assert len(set(digests.values())) == 1


if __name__ == "__main__":
    main()

"""Compiling the native kernel on first use, once for each source, compiler and machine type."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ssl_kedro.core.files import replaced_file

_LOG = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-pthread")
_AVX512 = ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma")
_TIMEOUT_S = 300


class NativeUnavailableError(RuntimeError):
    """The native kernel cannot be used here; the message says why."""


@dataclass(frozen=True)
class InstructionSet:
    """One copy of the inner loops.

    Args:
        name: "portable", "avx2" or "avx512".
        number: what the library calls it.
        lanes: floats in a register.
        flags: that the compiler needs for it.
    """

    name: str
    number: int
    lanes: int
    flags: tuple[str, ...]


INSTRUCTION_SETS = (
    InstructionSet("portable", 0, 4, ()),
    InstructionSet("avx2", 1, 8, ("-mavx2", "-mfma")),
    InstructionSet("avx512", 2, 16, _AVX512),
)


def cache_folder() -> Path:
    """Where compiled libraries are kept: $XDG_CACHE_HOME/ssl_kedro, or ~/.cache/ssl_kedro."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "ssl_kedro" / "native"


def library_path() -> Path:
    """The compiled library; compiles it if there is none yet.

    The compiler is $CXX, else the first of c++, g++ and clang++. What failed is not tried again
    in this process.

    Raises:
        NativeUnavailableError: there is no compiler, or it fails; logged once.
    """
    found = _outcome()
    if isinstance(found, str):
        raise NativeUnavailableError(found)
    return found


def missing_compiler() -> str:
    """Why the kernel cannot be compiled here, as far as a look at the compiler tells; or ""."""
    try:
        _compiler()
    except NativeUnavailableError as error:
        return str(error)
    return ""


@functools.cache
def _outcome() -> Path | str:
    """The library, or why there is none."""
    try:
        return _library_path()
    except NativeUnavailableError as error:
        _LOG.warning("The native engine is not used: %s", error)
        return str(error)


def _library_path() -> Path:
    compiler = _compiler()
    sources = sorted(_FOLDER.glob("*.cpp")) + sorted(_FOLDER.glob("*.h"))
    digest = hashlib.sha256()
    for text in (_version(compiler), platform.machine(), repr((_FLAGS, INSTRUCTION_SETS))):
        digest.update(text.encode())
    for source in sources:
        digest.update(source.name.encode() + source.read_bytes())
    path = cache_folder() / f"gated_{digest.hexdigest()[:16]}.so"
    if path.exists():
        return path
    try:
        with replaced_file(path) as temporary, tempfile.TemporaryDirectory() as folder:
            _compile(compiler, Path(folder), temporary)
    except OSError as error:
        raise NativeUnavailableError(f"{path.parent} cannot be written ({error})") from error
    return path


def _compiler() -> str:
    wanted = os.environ.get("CXX")
    for name in (wanted,) if wanted else _COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    raise NativeUnavailableError(
        f"no C++ compiler found (looked for {wanted or ', '.join(_COMPILERS)}); install g++ or "
        "clang++, or set CXX"
    )


def _version(compiler: str) -> str:
    return _run([compiler, "--version"])


def _compile(compiler: str, folder: Path, library: Path) -> None:
    """Object by object, as many at a time as there are processors, then linked."""
    commands: dict[str, tuple[str, ...]] = {
        f"{source.stem}.o": ("-c", str(source))
        for source in sorted(_FOLDER.glob("*.cpp"))
        if source.name != "tiles.cpp"
    }
    intel = platform.machine().lower() in ("x86_64", "amd64")
    for chosen in INSTRUCTION_SETS if intel else INSTRUCTION_SETS[:1]:
        flags = (*chosen.flags, f"-DTILES_NAME={chosen.name}", f"-DTILES_LANES={chosen.lanes}")
        commands[f"tiles_{chosen.name}.o"] = (*flags, "-c", str(_FOLDER / "tiles.cpp"))
    objects = {str(folder / name): given for name, given in commands.items()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(
            pool.map(
                lambda name: _run([compiler, *_FLAGS, *objects[name], "-o", name]), list(objects)
            )
        )
    _run([compiler, "-shared", "-pthread", *objects, "-o", str(library)])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeUnavailableError(f"{command[0]} does not run ({error})") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in lines if "error" in line), lines[0] if lines else "no word")
        raise NativeUnavailableError(f"{command[0]} cannot compile it: {reason.strip()}")
    return done.stdout

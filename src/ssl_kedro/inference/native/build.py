"""Compiling the native kernel on first use, once for each source, flags and machine type."""

import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ssl_kedro.core.cores import available_cores
from ssl_kedro.core.files import replaced_file
from ssl_kedro.inference.engines.base import EngineUnavailableError

_LOG = logging.getLogger(__name__)
_FOLDER = Path(__file__).parent
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = ("-O3", "-std=c++17", "-fPIC", "-fvisibility=hidden", "-pthread")
_TIMEOUT_S = 300


# Copies of the inner loops, in the order of their numbers in the library: floats in a register,
# and flags that the compiler needs.
INSTRUCTION_SETS: dict[str, tuple[int, tuple[str, ...]]] = {
    "portable": (4, ()),
    "avx2": (8, ("-mavx2", "-mfma")),
    "avx512": (16, ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma")),
}
_AVX512 = ("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma", "-mf16c")
# The same for bytes: definitions and flags.
INT8_SETS: dict[str, tuple[str, ...]] = {
    "avx512vnni": (*_AVX512, "-mavx512vnni"),
    "amx": (*_AVX512, "-mavx512vnni", "-mamx-tile", "-mamx-int8", "-DINT8_AMX"),
}


def library_path() -> Path:
    """The compiled library; compiles it if there is none yet.

    A library that is there needs no compiler. It is compiled by $CXX, which may hold arguments,
    else by the first of c++, g++ and clang++. What failed is not tried again in this process.

    Raises:
        EngineUnavailableError: there is no folder to keep it in or no compiler, or that fails;
            logged once.
    """
    found = _outcome()
    if isinstance(found, str):
        raise EngineUnavailableError(found)
    return found


def why_unavailable() -> str:
    """Why there is no kernel here, as far as a look at cache and compiler tells; or ""."""
    try:
        if not _is_there(_cached_path()):
            _compiler()
    except EngineUnavailableError as error:
        return str(error)
    return ""


@functools.cache
def _outcome() -> Path | str:
    """The library, or why there is none."""
    try:
        path = _cached_path()
        if not _is_there(path):
            if path.exists():
                _LOG.warning("The compiled kernel %s is damaged or not ours: made again", path)
            _make(path, _compiler())
    except EngineUnavailableError as error:
        _LOG.warning("The native engine is not used: %s", error)
        return str(error)
    return path


def _cached_path() -> Path:
    """Where the library of these sources, flags and this type of machine is, or is to be.

    Compilers share it, but not what $CXX adds to the flags. No flag asks for the processor at
    hand: which inner loops run is decided when the library is loaded. It is kept in
    $XDG_CACHE_HOME/ssl_kedro/native, or ~/.cache/ssl_kedro/native.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        cache = Path(root) if root else Path.home() / ".cache"
    except RuntimeError as error:
        raise EngineUnavailableError(
            "no home folder to keep the compiled kernel in; set XDG_CACHE_HOME to a folder"
        ) from error
    digest = hashlib.sha256()
    machine = (platform.system(), platform.machine(), *platform.libc_ver())
    added = [word for word in _wanted() if word.startswith("-")]
    digest.update(repr((machine, _FLAGS, INSTRUCTION_SETS, INT8_SETS, added)).encode())
    for source in sorted(_FOLDER.glob("*.cpp")) + sorted(_FOLDER.glob("*.h")):
        digest.update(source.name.encode() + source.read_bytes())
    return cache / "ssl_kedro" / "native" / f"gated_{digest.hexdigest()[:16]}.so"


def _is_there(path: Path) -> bool:
    """Whether the library is there as it was made, and nobody else can have put it there."""
    try:
        if not path.exists():
            return False
        if path.parent.stat().st_uid != os.getuid():
            raise PermissionError("it belongs to another user, whose code would be run")
        if not _is_ours(path.parent):
            path.parent.chmod(0o700)
        made = _checksum_of(path)
        return _is_ours(path) and made.is_file() and made.read_text() == _checksum(path)
    except OSError as error:  # e.g. a home folder of somebody else
        raise _unusable(path, error) from error


def _is_ours(path: Path) -> bool:
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o022


def _checksum_of(library: Path) -> Path:
    return library.with_suffix(".sha256")


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unusable(path: Path, error: OSError) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"the compiled kernel cannot be kept in {path.parent} ({error}); set XDG_CACHE_HOME to a "
        "folder that can be written"
    )


def _wanted() -> list[str]:
    """The words of $CXX, e.g. "ccache g++"."""
    wanted = os.environ.get("CXX", "")
    try:
        return shlex.split(wanted)
    except ValueError as error:
        raise EngineUnavailableError(f"CXX = {wanted!r} is not a command ({error})") from error


def _compiler() -> list[str]:
    """The compiler's command."""
    wanted = _wanted()
    for name in wanted[:1] or _COMPILERS:
        found = shutil.which(name)
        if found:
            return [found, *wanted[1:]]
    raise EngineUnavailableError(
        f"no C++ compiler found (looked for {wanted[0] if wanted else ', '.join(_COMPILERS)}); "
        "install g++ or clang++, or set CXX"
    )


def _make(library: Path, compiler: list[str]) -> None:
    """Object by object, as many at a time as there are processors, then linked."""
    try:
        library.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replaced_file(library) as made, tempfile.TemporaryDirectory() as folder:
            objects = _objects(Path(folder))
            commands = [[*compiler, *_FLAGS, *objects[name], "-o", name] for name in objects]
            with ThreadPoolExecutor(available_cores()) as pool:
                list(pool.map(_run, commands))
            _run([*compiler, "-shared", "-pthread", *objects, "-o", str(made)])
            made.chmod(0o700)
            with replaced_file(_checksum_of(library)) as told:
                told.write_text(_checksum(made))
    except OSError as error:
        raise _unusable(library, error) from error


def _objects(folder: Path) -> dict[str, list[str]]:
    """Paths of the objects, and what the compiler is given for each."""
    several = ("tiles.cpp", "int8_tiles.cpp")
    sources = [path for path in sorted(_FOLDER.glob("*.cpp")) if path.name not in several]
    found = {str(folder / f"{source.stem}.o"): ["-c", str(source)] for source in sources}
    intel = platform.machine().lower() in ("x86_64", "amd64")
    for name in INSTRUCTION_SETS if intel else ("portable",):
        lanes, flags = INSTRUCTION_SETS[name]
        defined = [f"-DTILES_NAME={name}", f"-DTILES_LANES={lanes}"]
        tiles = [*flags, *defined, "-c", str(_FOLDER / "tiles.cpp")]
        found[str(folder / f"tiles_{name}.o")] = tiles
    for name in INT8_SETS if intel else ():
        tiles = [*INT8_SETS[name], f"-DTILES_NAME={name}", "-c", str(_FOLDER / "int8_tiles.cpp")]
        found[str(folder / f"int8_{name}.o")] = tiles
    return found


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineUnavailableError(f"{command[0]} does not run ({error})") from error
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in lines if "error" in line), lines[0] if lines else "no word")
        raise EngineUnavailableError(f"{command[0]} cannot compile it: {reason.strip()}")

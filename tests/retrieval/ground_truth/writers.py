"""Each published format written the way its publisher's tool writes it, for round trips."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

Table = dict[str, Any]


def write_json(table: Table, path: Path) -> None:
    path.write_text(json.dumps(table))


def write_pickle(table: Table, path: Path, protocol: int = 2) -> None:
    path.write_bytes(pickle.dumps(table, protocol=protocol))


def _matlab_entry(entry: dict[str, Any]) -> dict[str, np.ndarray]:
    """Indices from 1, as rows; MATLAB's default type is double."""
    return {key: np.array([values], dtype=float) + (key != "bbx") for key, values in entry.items()}


def write_matlab_5(table: Table, path: Path, compressed: bool = True) -> None:
    def cells(names: list[str]) -> np.ndarray:
        array = np.empty((1, len(names)), dtype=object)
        array[0, :] = names
        return array

    fields = list(table["gnd"][0])
    gnd = np.empty((1, len(table["gnd"])), dtype=[(field, object) for field in fields])
    for index, entry in enumerate(table["gnd"]):
        gnd[0, index] = tuple(_matlab_entry(entry)[field] for field in fields)
    content: Table = {"gnd": gnd}
    for key in ("imlist", "qimlist", "q_name"):
        if key in table:
            content[key] = cells(table[key])
    if "qidx" in table:
        content["qidx"] = np.array([table["qidx"]], dtype=np.uint16) + np.uint16(1)
    scipy.io.savemat(path, content, do_compression=compressed)


def write_matlab_73(table: Table, path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        store = file.create_group("#refs#")

        def dataset(group: Any, name: str, values: np.ndarray, kind: str) -> Any:
            # MATLAB stores the size of an empty array in its place.
            data = values if values.size else np.zeros(2, dtype=np.uint64)
            written = group.create_dataset(name, data=data)
            written.attrs["MATLAB_class"] = np.bytes_(kind)
            if not values.size:
                written.attrs["MATLAB_empty"] = np.uint8(1)
            return written

        def reference(values: np.ndarray, kind: str) -> Any:
            return dataset(store, f"r{len(store)}", values, kind).ref

        def cells(key: str) -> None:
            names = [np.array([[ord(letter)] for letter in n], np.uint16) for n in table[key]]
            references = np.array([[reference(name, "char")] for name in names], h5py.ref_dtype)
            file.create_dataset(key, data=references).attrs["MATLAB_class"] = np.bytes_("cell")

        gnd = file.create_group("gnd")
        for field in table["gnd"][0]:
            columns = [_matlab_entry(entry)[field].T for entry in table["gnd"]]
            if len(columns) == 1:
                # A struct that is no array holds its values, not references to them.
                dataset(gnd, field, columns[0], "double")
                continue
            references = [[reference(column, "double")] for column in columns]
            gnd.create_dataset(field, data=np.array(references, h5py.ref_dtype))
        for key in ("imlist", "qimlist", "q_name"):
            if key in table:
                cells(key)
        if "qidx" in table:
            file.create_dataset("qidx", data=np.array([table["qidx"]], dtype=float).T + 1)
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)


def write_text(table: Table, folder: Path, prefix: str = "") -> None:
    """Five queries a landmark, as on Oxford's site; every other positive is only ok."""
    folder.mkdir(exist_ok=True)
    for query, (entry, place) in enumerate(zip(table["gnd"], table["qidx"], strict=True)):
        stem = f"landmark_{query // 5:03d}_{query % 5 + 1}"
        box = " ".join(map(repr, entry["bbx"]))
        (folder / f"{stem}_query.txt").write_text(f"{prefix}{table['imlist'][place]} {box}\n")
        for kind, images in (
            ("good", entry["ok"][::2]),
            ("ok", entry["ok"][1::2]),
            ("junk", entry["junk"]),
        ):
            names = "".join(f"{table['imlist'][image]}\n" for image in images)
            (folder / f"{stem}_{kind}.txt").write_text(names)

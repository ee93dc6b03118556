"""What a network computes with, and whether the processor has instructions for it."""

from pathlib import Path
from typing import Literal, get_args

Precision = Literal["f32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# Linux' names of instructions that multiply and add in a precision, on x86 and on ARM.
_INSTRUCTIONS: dict[Precision, tuple[str, ...]] = {
    "f32": (),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp"),
}
_PROCESSOR = Path("/proc/cpuinfo")


def processor_lacks(precision: Precision) -> str:
    """What this processor lacks for a precision, "" if nothing.

    Without the instructions, bfloat16 is slower than float32, and sums of products of bytes are
    kept in 16 bits, where they overflow. A system that does not tell is trusted.
    """
    wanted = _INSTRUCTIONS[precision]
    if not wanted or not _PROCESSOR.exists():
        return ""
    lines = _PROCESSOR.read_text(encoding="utf-8").splitlines()
    told = [line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Feat"))]
    if not told or not set(wanted).isdisjoint(told[0]):
        return ""
    return f"this processor has no instructions for {precision}: none of {', '.join(wanted)}"

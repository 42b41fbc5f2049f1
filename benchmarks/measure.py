"""How everything here is measured: variants take turns in one process, and memory is the kernel's own peak."""

from __future__ import annotations

import ctypes
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def compare(benchmark: str, variants: dict[str, Callable[[], object]], rounds: int) -> list[dict]:
    """Times every variant once a round, in turn, and compares each with the first of the same round.

    Returns:
        A row a variant: median seconds; median ratio to the first variant, and the ratio's quartiles over rounds. On a
        GPU also the seconds that its kernels take: the rest is waiting for the host, which a fuller GPU would hide.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_number in range(rounds + 1):  # the first one warms up
        for name, function in variants.items():
            start = time.perf_counter()
            function()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            if round_number > 0:
                seconds[name].append(time.perf_counter() - start)
    rows = [row(benchmark, name, times, seconds[next(iter(variants))]) for name, times in seconds.items()]
    if DEVICE == "cuda":
        rows = [entry | {"gpu_seconds": _kernel_seconds(variants[entry["variant"]])} for entry in rows]
    return rows


def _kernel_seconds(function: Callable[[], object]) -> float:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        function()
        torch.cuda.synchronize()
    return sum(event.self_device_time_total for event in profile.key_averages()) / 1e6


def row(benchmark: str, variant: str, times: list[float], base: list[float]) -> dict:
    """One row of a table, from paired times."""
    ratios = sorted(time / other for time, other in zip(times, base, strict=True))
    return {
        "benchmark": benchmark,
        "variant": variant,
        "seconds": statistics.median(times),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
    }


def peak_memory(variants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """MiB that a call of each variant takes above what was there before it.

    A call that is not measured comes first: it compiles, and maps the libraries' code, which is no memory that the
    call takes. On a CPU each variant runs in a process forked for it, so that none finds memory that another has left
    behind. Call it before anything has been compiled or has run backward: threads of either do not survive a fork.
    """
    measure = _peak_on_gpu if DEVICE == "cuda" else _peak_of_fork
    return {name: measure(function) for name, function in variants.items()}


def add_memory(rows: list[dict], peaks: dict[str, float], base: str) -> list[dict]:
    """The rows with `peak_mib` and its ratio to the variant `base`."""
    return [
        entry | {"peak_mib": peaks[entry["variant"]], "memory_ratio": peaks[entry["variant"]] / peaks[base]}
        for entry in rows
    ]


def _peak_on_gpu(function: Callable[[], object]) -> float:
    function()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    function()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _peak_of_fork(function: Callable[[], object]) -> float:
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def child() -> None:
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
        function()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that what was freed counts when it is taken again
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is resident now
        before = resident_mib("VmRSS")
        function()
        sender.send(resident_mib("VmHWM") - before)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    sender.close()  # so that a child that dies ends the wait
    try:
        return receiver.recv()
    finally:
        process.join()


def resident_mib(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process, in MiB, as the kernel counts it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]

"""How everything here is measured: variants take turns in one process, and memory is the kernel's own peak."""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def run_benchmark(path: str, rounds: int) -> list[dict]:
    """The rows of module:function, in a process for it alone, whose output goes to stderr: stdout may be for JSON."""
    os.dup2(2, 1)
    module, function = path.split(":")
    return getattr(importlib.import_module(f"benchmarks.{module}"), function)(rounds)


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


def compare_with_memory(
    comparisons: dict[str, dict[str, Callable[[], object]]],
    check: Callable[[], None],
    rounds: int,
    memory_base: dict[str, str],
) -> list[dict]:
    """Memory of every variant, then `check`, that they agree, then times by `compare`: in this order, since threads
    that a compiler or a backward pass has started do not survive the forks in which memory is measured.

    Args:
        comparisons: variants by name, by the title of their benchmark.
        memory_base: by title, the variant that the others' memory is compared with.

    Returns:
        The rows of `compare` with `peak_mib`, and its ratio to the base's.
    """
    peaks = {
        title: {name: _peak_mib(call) for name, call in variants.items()} for title, variants in comparisons.items()
    }
    check()
    rows = [entry for title, variants in comparisons.items() for entry in compare(title, variants, rounds)]
    for entry in rows:
        mib = peaks[entry["benchmark"]]
        entry["peak_mib"] = mib[entry["variant"]]
        entry["memory_ratio"] = entry["peak_mib"] / mib[memory_base[entry["benchmark"]]]
    return rows


def _peak_mib(function: Callable[[], object]) -> float:
    """MiB that a call takes above what was there before it.

    A call that is not measured comes first: it compiles, and maps the libraries' code, which is no memory that the
    call takes. On a CPU both run in a process forked for them, which finds no memory that another variant has left.
    """
    return _peak_on_gpu(function) if DEVICE == "cuda" else _peak_of_fork(function)


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

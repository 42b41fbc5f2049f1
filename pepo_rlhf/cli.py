"""pepo COMMAND [FLAG ...]: the commands of this package; each is also `python -m pepo_rlhf.COMMAND`."""

from __future__ import annotations

import runpy
import sys

COMMANDS = {
    "train": "train a model",
    "stop": "let a run end after its step, with a checkpoint",
    "check": "say what would go wrong in a run, before GPUs are reserved",
    "prepare": "write a dataset's rows as training reads them",
    "evaluate": "score models on held-out data or benchmarks",
    "report": "show runs as one HTML file: curves, and responses as heat maps",
    "credit": "ask whether signals find the tokens that depend on the image, before training",
    "reweight": "compute a run's token weights for other settings, from its records",
    "reward": "grade stored responses with verifiers",
}


def main() -> int:
    """Run the command that the first argument names; its module is imported only then, and its exit code kept."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        del sys.argv[1]
        runpy.run_module(f"pepo_rlhf.{name}", run_name="__main__", alter_sys=True)
        return 0
    if name in ("-h", "--help"):
        print(_usage())
        return 0
    print(f"error: {name!r} is no command\n\n{_usage()}" if name else _usage(), file=sys.stderr)
    return 2


def _usage() -> str:
    commands = "\n".join(f"  {name:10}{help_text}" for name, help_text in COMMANDS.items())
    return f"usage: pepo COMMAND [FLAG ...]\n\ncommands (`pepo COMMAND --help` lists the flags of one):\n{commands}"

"""python -m pepo_rlhf.credit MODEL DATA [--num_prompts N] [--num_samples N] [--decisive K] [--output FILE] [--FLAG ...]

Asks, before any training, whether the signals of token weightings find the tokens that depend on the image, on this
model and these data, and with --decisive whether these are the tokens that decide about the reward. DATA is a data set,
to whose prompts responses are sampled, or the folder of a run, whose last token records are taken. All other flags are
those of pepo_rlhf.train. Prints tables and verdicts, and writes one HTML file with the responses and all signals side
by side. docs/credit.md explains the numbers.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pepo_rlhf import compat
from pepo_rlhf.compat.remote_code import TRUST_REMOTE_CODE
from pepo_rlhf.config import parse_arguments
from pepo_rlhf.config.ranges import AT_LEAST_1, AT_LEAST_2, argument


def main() -> int:
    options, flags = _parse_options()
    run_dir = Path(options.data) if (Path(options.data) / "tokens").is_dir() else None
    config = parse_arguments([*_defaults(options, run_dir), *flags], validated=False)
    compat.install()
    os.environ[TRUST_REMOTE_CODE] = "1" if config.run.trust_remote_code else "0"
    # Imported late, after the patches: OpenRLHF comes with it.
    from pepo_rlhf.credit.decisive import Decisive
    from pepo_rlhf.credit.study import study

    decisive = Decisive(options.decisive, options.num_continuations) if options.decisive else None
    try:
        found = study(config, options.num_prompts, options.num_samples, run_dir, decisive)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(found.text)
    options.output.write_text(found.page, encoding="utf-8")
    print(f"{options.output}: the responses, with all signals side by side")
    return 0


def _parse_options() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m pepo_rlhf.credit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="folder or hub id")
    parser.add_argument("data", metavar="DATA", help="data set, or folder of a run with token records")
    parser.add_argument(
        "--num_prompts", type=argument(int, AT_LEAST_1), default=32, help="prompts with images, at most (32)"
    )
    parser.add_argument("--num_samples", type=argument(int, AT_LEAST_1), default=2, help="responses to each prompt (2)")
    parser.add_argument(
        "--decisive",
        type=argument(int, AT_LEAST_1),
        metavar="K",
        help="measure at K tokens of each response how far they decide about the reward",
    )
    parser.add_argument(
        "--num_continuations",
        type=argument(int, AT_LEAST_2),
        default=16,
        help="with --decisive: continuations before and after each of these tokens (16)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("credit.html"), metavar="FILE", help="credit.html by default"
    )
    return parser.parse_known_args()


def _defaults(options: argparse.Namespace, run_dir: Path | None) -> list[str]:
    """Return flags that stand before the user's: a run's own settings, or what a data set needs."""
    import torch

    flags = [] if torch.cuda.is_available() else ["--ds.param_dtype", "fp32"]
    if run_dir is None:
        # Rows without an image are passed over; a large data set need not be read to its end.
        flags += ["--data.prompt_dataset", options.data, "--data.max_samples", str(10 * options.num_prompts)]
    elif (run_dir / "config.yaml").exists():
        flags = ["--config", str(run_dir / "config.yaml")]
    return [*flags, "--actor.model_name_or_path", options.model]


if __name__ == "__main__":
    sys.exit(main())

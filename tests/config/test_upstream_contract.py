"""Holds the settings against the pinned OpenRLHF: its flags, their defaults, and every argument its code reads."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import importlib.util
from collections.abc import Iterator
from datetime import datetime
from functools import reduce
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from transformers import get_scheduler

from pepo_rlhf.config import Config, to_arguments
from pepo_rlhf.config.upstream import CHANGED_DEFAULTS, DROPPED, READ_BY_WORKERS

_spec = importlib.util.find_spec("openrlhf")
assert _spec is not None and _spec.submodule_search_locations is not None
OPENRLHF = Path(_spec.submodule_search_locations[0])
COMMAND = OPENRLHF / "cli" / "train_ppo_ray.py"

# Settings that upstream has no flag for, apart from the sections pepo and run.
OURS = {
    "algo.dynamic_filtering_max_resamples",
    "algo.advantage.std_epsilon",
    "algo.dynamic_filtering_refill",
    "algo.overlong_filtering_enable",
    "ckpt.resume",
    "ckpt.save_merged",
    "train.single_pass",
    "train.skip_zero_advantages",
    "ckpt.save_minutes",
    "data.fetch_urls",
    "data.image_root",
    "data.instruction",
    "data.max_pixels",
    "data.min_pixels",
    "data.on_bad_row",
    "data.system_prompt",
    "data.task",
    "logger.tokens_every",
    "logger.tokens_max_rows",
    "logger.trackio.enable",
    "logger.trackio.project",
    "logger.wandb.enable",
    "ref.separate",
    "reward.allow_network",
    "reward.functions",
    "reward.max_error_rate",
    "reward.memory_mb",
    "reward.num_processes",
    "reward.timeout_seconds",
    "reward.weights",
    "rollout.top_k",
    "vllm.max_restarts",
    "vllm.packed_weight_transfer",
}

# Upstream takes any text, and fails on a wrong one when the GPUs have been reserved.
CHOSEN_HERE = {"actor.lr_scheduler", "ds.grad_accum_dtype", "vllm.sync_backend"}


def upstream_flags() -> dict[str, argparse.Action]:
    """Upstream's own parser, built by running the lines of its `if __name__` block up to parse_args."""
    main = ast.parse(COMMAND.read_text()).body[-1]
    assert isinstance(main, ast.If)
    end = next(i for i, line in enumerate(main.body) if "parser.parse_args()" in ast.unparse(line))
    scope: dict[str, Any] = {"argparse": argparse, "datetime": datetime}
    exec(compile(ast.Module(main.body[:end], type_ignores=[]), str(COMMAND), "exec"), scope)
    actions = scope["parser"]._actions
    return {action.option_strings[0].removeprefix("--"): action for action in actions if action.dest != "help"}


def our_settings(section: object, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Flag, type and default of every setting."""
    hints = get_type_hints(type(section))
    for field in dataclasses.fields(section):  # type: ignore[arg-type]
        value, flag = getattr(section, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from our_settings(value, flag + ".")
        else:
            yield flag, hints[field.name], value


def plain_types(hint: Any) -> set[type]:
    """Types that a value may consist of: float for tuple[float, float] | None."""
    if get_origin(hint) is Literal:
        return {str}
    parts = [part for part in get_args(hint) if part is not type(None)]
    return set().union(*map(plain_types, parts)) if parts else {hint}


def choices(hint: Any) -> list[str] | None:
    for part in (hint, *get_args(hint)):
        if get_origin(part) is Literal:
            return list(get_args(part))
    return None


UPSTREAM = upstream_flags()
OUR_TYPES = {flag: hint for flag, hint, _ in our_settings(Config())}
OUR_DEFAULTS = {flag: default for flag, _, default in our_settings(Config())}
SHARED = sorted(OUR_DEFAULTS.keys() & UPSTREAM.keys())


def same(ours: Any, upstreams: Any) -> bool:
    return (list(ours) if isinstance(ours, tuple) else ours) == (
        list(upstreams) if isinstance(upstreams, tuple) else upstreams
    )


def test_upstreams_parser_is_read():
    assert UPSTREAM["actor.adam.lr"].default == 1e-6
    assert len(UPSTREAM) > 150


def test_every_upstream_flag_is_here_or_dropped_with_a_reason():
    missing = UPSTREAM.keys() - OUR_DEFAULTS.keys()
    assert {flag if flag in DROPPED else flag.partition(".")[0] for flag in missing} == DROPPED.keys()


def test_values_are_given_for_dropped_flags_alone_and_are_upstreams_own():
    assert READ_BY_WORKERS.keys() <= DROPPED.keys()
    assert {flag: UPSTREAM[flag].default for flag in READ_BY_WORKERS} == READ_BY_WORKERS


def test_settings_that_upstream_lacks_are_known_to_be_ours():
    extra = {flag for flag in OUR_DEFAULTS.keys() - UPSTREAM.keys() if flag.split(".")[0] not in ("pepo", "run")}
    assert extra == OURS


def test_only_the_listed_defaults_differ():
    assert {flag for flag in SHARED if not same(OUR_DEFAULTS[flag], UPSTREAM[flag].default)} == CHANGED_DEFAULTS.keys()


def test_every_departure_has_a_reason():
    assert all(CHANGED_DEFAULTS.values())
    assert all(DROPPED.values())


@pytest.mark.parametrize("flag", SHARED)
def test_a_shared_flag_takes_the_values_upstream_takes(flag):
    action = UPSTREAM[flag]
    assert (bool if action.nargs == 0 else action.type) in plain_types(OUR_TYPES[flag])
    offered = list(action.choices) if action.choices else None
    if flag == "algo.advantage.estimator":
        assert offered is not None
        offered.remove("gae")
    if flag == "ds.param_dtype":
        assert offered is not None
        offered.append("fp32")
    assert (choices(OUR_TYPES[flag]) == offered) is (flag not in CHOSEN_HERE)


@pytest.mark.parametrize("name", choices(OUR_TYPES["actor.lr_scheduler"]) or ())
def test_every_schedule_runs_with_the_arguments_that_upstream_gives(name):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-6)
    specific = {"min_lr_rate": 0.1} if "min_lr" in name else {}
    schedule = get_scheduler(
        name, optimizer, num_warmup_steps=2, num_training_steps=10, scheduler_specific_kwargs=specific
    )
    for _ in range(2):
        optimizer.step()
        schedule.step()
    assert 0 < optimizer.param_groups[0]["lr"] <= 1e-6


def reads(source: ast.AST) -> Iterator[tuple[str, bool]]:
    """Dotted settings read from `args`, and whether upstream reads them through getattr with a default."""
    for node in ast.walk(source):
        if isinstance(node, ast.Attribute) and (flag := below_args(node)):
            yield flag, False
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) == 3:
            section, name = node.args[0], ast.literal_eval(node.args[1]) if is_text(node.args[1]) else None
            owner = below_args(section)
            if name and owner is not None:
                yield f"{owner}.{name}".removeprefix("."), True


def below_args(node: ast.AST) -> str | None:
    """`actor.adam` for `self.strategy.args.actor.adam`; empty for the namespace itself; None for anything else."""
    names = ast.unparse(node).split(".")
    return ".".join(names[names.index("args") + 1 :]) if "args" in names and all(map(str.isidentifier, names)) else None


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


# What of upstream runs here: its trainers, its critic and its reward model do not.
READERS = {
    OPENRLHF / "trainer" / "ray" / "ppo_actor.py": ["ActorPPOTrainer", "PolicyModelActor"],
    OPENRLHF / "trainer" / "ray" / "launcher.py": ["BaseModelActor", "ReferenceModelActor", "RayActorGroup"],
    OPENRLHF / "trainer" / "ppo_utils" / "experience.py": ["balance_experiences"],
    OPENRLHF / "trainer" / "ppo_utils" / "replay_buffer.py": ["NaiveReplayBuffer"],
    OPENRLHF / "utils" / "deepspeed" / "deepspeed.py": ["DeepspeedStrategy"],
    OPENRLHF / "utils" / "utils.py": ["get_strategy"],
}


def reads_of(path: Path) -> set[tuple[str, bool]]:
    """What the named classes and functions of a file read."""
    nodes = {getattr(node, "name", ""): node for node in ast.parse(path.read_text()).body}
    return {read for name in READERS[path] for read in reads(nodes[name])}


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.name)
def test_every_argument_that_upstream_reads_exists(config, path):
    args = to_arguments(config)
    for flag, has_fallback in reads_of(path):
        if has_fallback and flag not in UPSTREAM:
            continue
        reduce(getattr, flag.split("."), args)


def test_the_reader_finds_plain_reads_and_reads_with_a_fallback():
    source = ast.parse("self.strategy.args.actor.adam.lr; getattr(args.eval, 'dataset', None); kwargs.get('x')")
    assert {("actor.adam.lr", False), ("eval.dataset", True)} <= set(reads(source))
    found = {flag for path in READERS for flag, _ in reads_of(path)}
    assert {"ckpt.path", "train.batch_size", "ds.ring_attn_size", "ds.lora.rank", "vllm.sync_backend"} <= found
    assert found >= READ_BY_WORKERS.keys()

"""Every configuration and script that ships is parsed, so that none of them rots."""

import os
import re
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from pepo_rlhf.config import Config, parse_arguments, to_arguments
from pepo_rlhf.config.moved import MOVED
from pepo_rlhf.config.upstream import DROPPED
from pepo_rlhf.core.weighting import BUILT_IN, weighting_class
from pepo_rlhf.tasks import find_task

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "benchmarks" / "README.md"]
)
SECTIONS = "|".join(section.name for section in fields(Config))


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_is_valid(path):
    config = parse_arguments(
        ["--config", str(path), "--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"]
    )
    assert to_arguments(config).rollout.batch_size


def names(folder):
    return sorted(path.stem for path in (EXAMPLES / folder).glob("*.yaml"))


def recipe(task, model, method):
    """The settings that examples/recipe.sh TASK MODEL METHOD trains with."""
    files = ["gpu.yaml", f"models/{model}.yaml", f"tasks/{task}.yaml", f"methods/{method}.yaml"]
    return parse_arguments([word for file in files for word in ("--config", str(EXAMPLES / file))])


@pytest.mark.parametrize("task", names("tasks"))
@pytest.mark.parametrize("model", names("models"))
def test_every_task_and_model_resolves_with_the_placement_of_eight_gpus(task, model):
    config = recipe(task, model, "pepo_d")
    assert config.train.colocate_all and config.vllm.enable_sleep and config.ds.enable_sleep
    assert config.actor.num_gpus_per_node == config.ref.num_gpus_per_node == config.vllm.num_engines == 8
    assert config.rollout.batch_size * config.rollout.n_samples_per_prompt == config.train.batch_size == 64
    assert config.pepo.settings == {"alpha": 0.05, "temperature": 1.8}, "of the released scripts"
    assert config.data.prompt_dataset.startswith(f"runs/data/{task}/")
    assert config.reward.functions[1] in (*find_task(task).verifiers, "iou")


SETTINGS = {"alpha": 0.05, "temperature": 1.8}  # of gpu.yaml
PEPO = {"method": "pepo", "schedule": "linear", "similarity": "cosine", "num_layers": None}


@pytest.mark.parametrize(
    ("method", "pepo", "dapo"),
    [
        ("grpo", {"method": "uniform"}, False),
        ("dapo", {"method": "uniform"}, True),
        ("high_entropy", {"method": "high_entropy", "settings": SETTINGS | {"top_fraction": 0.2}}, False),
        ("looking", {"method": "looking"}, False),
        ("pepo_g", PEPO, False),
        ("pepo_d", PEPO, True),
        ("perception_only", PEPO | {"method": "perception"}, False),
        ("entropy_only", PEPO | {"method": "entropy"}, False),
        ("additive", PEPO | {"method": "additive"}, False),
        ("no_schedule", PEPO | {"schedule": "constant"}, False),
        ("first_layers", PEPO | {"num_layers": 10}, False),
        ("similarity_dot", PEPO | {"similarity": "dot"}, False),
        ("similarity_l2", PEPO | {"similarity": "l2"}, False),
        ("similarity_l1", PEPO | {"similarity": "l1"}, False),
        (
            "vgpo",
            {"method": "vgpo", "settings": SETTINGS | {"alpha": 0.3, "top_fraction": 0.2}, "num_layers": -1},
            False,
        ),
        (
            "vppo",
            {
                "method": "vppo",
                "settings": SETTINGS | {"top_fraction": 0.4, "min_scale": 0.9},
                "perturbation": "patches",
                "perturbation_ratio": 0.5,
            },
            True,
        ),
        (
            "tor",
            {
                "method": "tor",
                "settings": SETTINGS
                | {"entropy_fraction": 0.3, "sensitivity_fraction": 0.3}
                | {"reasoning_weight": 1.0, "perception_weight": 0.5},
                "perturbation": "blank",
            },
            False,
        ),
        (
            "pgpo",
            {"method": "pgpo", "settings": SETTINGS | {"threshold": 0.4, "boost": 2.0}, "perturbation": "blank"},
            True,
        ),
    ],
)
def test_methods_differ_by_what_defines_them(method, pepo, dapo):
    config = recipe("geometry3k", "qwen25vl_3b", method)
    assert pepo.items() <= asdict(config.pepo).items()
    assert config.actor.loss_agg_mode == ("token-mean" if dapo else "seq-mean-token-mean")
    assert config.actor.eps_clip_low_high == ((0.2, 0.28) if dapo else None)
    assert config.algo.dynamic_filtering_enable == config.algo.overlong_filtering_enable == dapo


@pytest.mark.parametrize(
    ("method", "weighting"), [("grpo", "uniform"), ("pepo_g", "pepo"), ("dapo", "uniform"), ("pepo_d", "pepo")]
)
def test_the_authors_runs_are_reproduced(method, weighting):
    """Their scripts and the defaults of the framework that they leave as they are."""
    config = recipe("geometry3k", "qwen25vl_3b", f"authors_{method}")
    dapo = method in ("dapo", "pepo_d")
    assert config.pepo.method == weighting and config.pepo.settings == SETTINGS
    rollout, actor, algo = config.rollout, config.actor, config.algo
    assert (rollout.top_k, rollout.top_p, rollout.temperature, rollout.max_new_tokens) == (50, 1.0, 1.0, 1024)
    assert (actor.adam.lr, actor.lr_scheduler, actor.lr_warmup_ratio, actor.adam.weight_decay) == (
        1e-6,
        "cosine",
        0,
        0.1,
    )
    assert (actor.eps_clip, actor.eps_clip_low_high, algo.advantage.std_epsilon) == (0.2, None, 1e-4)
    assert (algo.kl.init_coef, algo.kl.use_loss, algo.kl.estimator) == (0.001, True, "k3")
    assert actor.loss_agg_mode == ("token-mean" if dapo else "seq-mean-token-mean")
    assert algo.dynamic_filtering_enable == algo.overlong_filtering_enable == dapo
    assert not dapo or (algo.dynamic_filtering_refill, algo.dynamic_filtering_max_resamples) == ("cycle", 3)
    assert config.reward.functions == ["format_pairs", "accuracy_mathruler"] and not config.reward.weights
    assert config.data.instruction == (
        "First output the thinking process in <think> </think> tags and then output the final answer in "
        "<answer> </answer> tags."
    )


def test_every_method_is_checked_here():
    (cases,) = [mark.args[1] for mark in test_methods_differ_by_what_defines_them.pytestmark]
    (authors,) = [mark.args[1] for mark in test_the_authors_runs_are_reproduced.pytestmark]
    assert names("methods") == sorted([case[0] for case in cases] + [f"authors_{case[0]}" for case in authors])


def test_a_method_goes_on_top_of_any_configuration():
    stacked = ["--config", str(EXAMPLES / "quickstart.yaml"), "--config", str(EXAMPLES / "methods" / "dapo.yaml")]
    config = parse_arguments([*stacked, "--actor.model_name_or_path", "model", "--data.prompt_dataset", "data"])
    assert (config.pepo.method, config.pepo.settings["temperature"], config.rollout.max_new_tokens) == (
        "uniform",
        1.8,
        24,
    )


def test_the_released_recipe_in_one_file_is_the_same():
    single = asdict(parse_arguments(["--config", str(EXAMPLES / "geometry3k_qwen25vl_3b_pepo_g.yaml")]))
    stacked = asdict(recipe("geometry3k", "qwen25vl_3b", "pepo_g"))
    for settings in (single, stacked):
        settings["data"]["prompt_dataset"] = settings["run"]["dir"] = ""
    assert single == stacked


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("geometry3k_*_pepo_?.sh")), ids=lambda path: path.stem)
def test_a_recipes_script_resolves_to_its_name(path):
    environment = os.environ | {"DRY_RUN": "1", "PYTHON": sys.executable}
    command = ["bash", str(path), "--train.seed", "7"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"dir: runs/{path.stem}\n" in printed
    assert "seed: 7\n" in printed and "num_engines: 8\n" in printed
    assert ("eps_clip_low_high:\n  - 0.2" in printed) == path.stem.endswith("_d")


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("*/*.sh")), ids=lambda path: path.stem)
def test_script_is_valid_bash_and_names_files_that_exist(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    for name in re.findall(r"(?:examples|requirements)/\w+\.(?:yaml|sh|in|overrides|lock)", path.read_text()):
        assert (REPOSITORY / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_files_and_flags_that_exist(page, capsys):
    text = page.read_text()
    for name in re.findall(
        r"(?:(?<![\w/.-])(?:examples|docs|benchmarks|tests|k8s)/[\w/-]+\.(?:yaml|sh|md|png|py))", text
    ):
        assert (REPOSITORY / name).exists(), name
    with pytest.raises(SystemExit):
        parse_arguments(["--help"])
    known = capsys.readouterr().out
    of_weightings = {field.name for name in BUILT_IN for field in fields(weighting_class(name).Settings)}
    for flag in set(re.findall(rf"--((?:{SECTIONS})\.\w[\w.]*\w)", text)):
        setting = flag.removeprefix("pepo.settings.")
        exists = f"--{flag}" in known or flag in {*DROPPED, *MOVED} or setting in of_weightings | {"KEY", "FIELD"}
        assert exists or re.fullmatch(r"reward\.weights\.NAME", flag), flag

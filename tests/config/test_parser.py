from __future__ import annotations

import dataclasses
import typing

import pytest
import yaml

from pepo_rlhf.config import Config, parse_arguments

REQUIRED = ["--actor.model_name_or_path", "some/model", "--data.prompt_dataset", "some/dataset"]


def error_line(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a wrong command line leaves on stderr."""
    with pytest.raises(SystemExit) as exit_info:
        parse_arguments([*REQUIRED, *argv])
    captured = capsys.readouterr()
    assert exit_info.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def write(path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_defaults_are_those_of_the_dataclasses(config):
    assert parse_arguments(REQUIRED) == config


def test_a_flag_beats_the_file_and_the_file_beats_the_default(tmp_path):
    file = write(tmp_path / "run.yaml", "pepo: {alpha: 0.2, temperature: 1.8}\nactor: {adam: {lr: 3.0e-6}}\n")
    config = parse_arguments([*REQUIRED, "--config", file, "--pepo.alpha", "0.3"])
    assert config.pepo.settings == {"alpha": 0.3, "temperature": 1.8}
    assert config.actor.adam.lr == 3e-6
    assert config.pepo.no_image == Config().pepo.no_image


def test_a_later_file_beats_an_earlier_one(tmp_path):
    base = write(tmp_path / "base.yaml", "pepo: {alpha: 0.2, temperature: 1.8}\n")
    overlay = write(tmp_path / "overlay.yaml", "pepo: {alpha: 0.3}\n")
    config = parse_arguments([*REQUIRED, "--config", base, "--config", overlay])
    assert config.pepo.settings == {"alpha": 0.3, "temperature": 1.8}


def test_settings_of_a_weighting_are_flags_and_keys_and_their_former_names_are_understood(tmp_path):
    new = write(tmp_path / "new.yaml", "pepo: {settings: {alpha: 0.2, temperature: 1.8}}\n")
    former = write(tmp_path / "former.yaml", "pepo: {alpha: 0.3}\n")
    for argv, expected in (
        (["--pepo.settings.alpha", "1e-3"], {"alpha": 1e-3}),
        (["--pepo.alpha=0.4"], {"alpha": 0.4}),
        (["--config", new, "--pepo.alpha", "0.4"], {"alpha": 0.4, "temperature": 1.8}),
        (["--config", former, "--pepo.settings.alpha", "0.4"], {"alpha": 0.4}),
        (["--config", new, "--config", former], {"alpha": 0.3, "temperature": 1.8}),
        (["--config", former, "--config", new], {"alpha": 0.2, "temperature": 1.8}),
        (["--pepo.settings", "{alpha: 0.5}"], {"alpha": 0.5}),
    ):
        assert parse_arguments([*REQUIRED, *argv]).pepo.settings == expected, argv


def test_a_file_with_both_names_of_a_setting_is_refused(capsys, tmp_path):
    file = write(tmp_path / "run.yaml", "pepo: {alpha: 0.3, settings: {alpha: 0.2}}\n")
    assert "--pepo.alpha is called --pepo.settings.alpha now, and the file has both" in error_line(
        capsys, "--config", file
    )


def test_openrlhf_shell_recipes_are_understood():
    config = parse_arguments(
        [
            *REQUIRED,
            "--train.colocate_all",
            *("--actor.eps_clip_low_high", "0.2", "0.28"),
            *("--reward.clip_range", "-1", "1"),
            *("--reward.functions", "accuracy"),
            *("--algo.advantage.is_correction_threshold", "2e-4"),
            *("--ds.lora.target_modules", "q_proj", "v_proj"),
            "--actor.gradient_checkpointing_enable",
        ]
    )
    assert config.train.colocate_all is True
    assert config.actor.gradient_checkpointing_enable is True
    assert config.actor.eps_clip_low_high == (0.2, 0.28)
    assert config.reward.clip_range == (-1.0, 1.0)
    assert config.reward.functions == ["accuracy"]
    assert config.algo.advantage.is_correction_threshold == [2e-4]
    assert config.ds.lora.target_modules == ["q_proj", "v_proj"]


def test_yaml_spelling_of_lists_and_booleans_is_understood():
    config = parse_arguments(
        [*REQUIRED, "--reward.functions", "[format, iou.py:overlap]", "--actor.freeze_visual_encoder=false"]
    )
    assert config.reward.functions == ["format", "iou.py:overlap"]
    assert config.actor.freeze_visual_encoder is False


def test_weights_are_given_by_component_or_as_one_mapping():
    by_component = [*REQUIRED, "--reward.weights.format", "0.1", "--reward.weights.accuracy", "0.9"]
    as_one = [*REQUIRED, "--reward.weights", "{format: 0.1, accuracy: 0.9}"]
    assert parse_arguments(by_component).reward.weights == {"format": 0.1, "accuracy": 0.9}
    assert parse_arguments(as_one) == parse_arguments(by_component)


def test_the_printed_configuration_reads_back_as_the_same_settings(tmp_path, capsys):
    argv = [
        *REQUIRED,
        "--actor.eps_clip_low_high",
        "0.2",
        "0.28",
        "--run.dir",
        "runs/x",
        "--reward.functions",
        "format",
    ]
    with pytest.raises(SystemExit) as exit_info:
        parse_arguments([*argv, "--print_config"])
    assert exit_info.value.code == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["pepo"]["no_image"] == "uniform"
    file = write(tmp_path / "printed.yaml", printed)
    assert parse_arguments(["--config", file]) == parse_arguments(argv)


def test_help_shows_the_text_under_each_field(capsys):
    with pytest.raises(SystemExit) as exit_info:
        parse_arguments(["--help"])
    assert exit_info.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--pepo.settings SETTINGS Settings of the weighting, one by one as --pepo.settings.alpha 0.1" in text
    assert "--actor.adam.lr LR Learning rate." in text


def test_an_unknown_flag_is_named_with_its_nearest_neighbour(capsys):
    assert error_line(capsys, "--pepo.alfa", "1") == (
        "error: --pepo.alfa is not a setting; did you mean --pepo.alpha?\n"
    )


def test_a_shortened_flag_is_unknown(capsys):
    assert "--pepo.alp is not a setting" in error_line(capsys, "--pepo.alp", "1")


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("typo: 1", "--typo"),
        ("pepo: {alfa: 1}", "--pepo.alfa"),
        ("actor: {adam: {lrr: 1}}", "--actor.adam.lrr"),
    ],
)
def test_an_unknown_key_in_a_file_is_named(capsys, tmp_path, text, flag):
    assert f"{flag} is not a setting" in error_line(capsys, "--config", write(tmp_path / "run.yaml", text))


def test_a_dropped_flag_is_refused_with_its_reason_and_without_its_value(capsys):
    line = error_line(capsys, "--logger.wandb.key", "my-secret")
    assert "--logger.wandb.key is not offered here" in line
    assert "WANDB_API_KEY" in line
    assert "my-secret" not in line


def test_a_dropped_key_in_a_file_is_refused_with_its_reason(capsys, tmp_path):
    file = write(tmp_path / "run.yaml", "critic: {adam: {lr: 9.0e-6}}")
    assert "--critic.adam.lr is not offered here: the advantage comes from a group" in error_line(
        capsys, "--config", file
    )


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--pepo.settings.alpha", "high", "--pepo.settings.alpha must be a number, not 'high'"),
        ("--pepo.settings.alfa", "1", "which has --pepo.settings.temperature, --pepo.settings.alpha"),
        ("--actor.adam.lr", "high", "Expected a float"),
        ("--train.batch_size", "6.5", "Expected a int"),
        (
            "--pepo.method",
            "magic",
            "choose one of additive, entropy, high_entropy, looking, pepo, perception, pgpo, tor,",
        ),
        ("--algo.advantage.estimator", "gae", "one of 'reinforce'"),
        ("--actor.eps_clip_low_high", "0.2", "Expected a tuple"),
        ("--train.colocate_all", "maybe", "Expected a bool"),
    ],
)
def test_a_wrong_value_names_flag_and_expectation(capsys, flag, value, expected):
    line = error_line(capsys, flag, value)
    assert flag in line
    assert expected in line


@pytest.mark.parametrize(
    "flag", ["--pepo.settings.alpha", "--train.seed", "--ckpt.max_mem", "--pepo.num_layers", "--ds.zpg"]
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_beyond_floats_is_told_by_its_flag(capsys, flag, sign):
    line = error_line(capsys, flag, sign + "1" * 400)
    assert line == f"error: {flag} is too large a number: give a smaller one\n"


def test_a_number_beyond_floats_in_a_file_is_told_by_its_flag(capsys, tmp_path):
    file = write(tmp_path / "run.yaml", f"pepo: {{alpha: {'1' * 400}}}\n")
    assert "--pepo.settings.alpha is too large a number" in error_line(capsys, "--config", file)


def test_whole_numbers_have_64_bits(capsys):
    assert parse_arguments([*REQUIRED, "--pepo.num_layers", str(2**63 - 1)]).pepo.num_layers == 2**63 - 1
    assert "--pepo.num_layers is too large a number" in error_line(capsys, "--pepo.num_layers", str(2**63))


def test_a_missing_file_is_named(capsys):
    assert "absent.yaml" in error_line(capsys, "--config", "absent.yaml")


@pytest.mark.parametrize("text", ["pepo: {alpha", "", "- pepo"])
def test_a_file_that_holds_no_settings_is_refused(capsys, tmp_path, text):
    assert "a configuration file" in error_line(capsys, "--config", write(tmp_path / "run.yaml", text))


def test_a_section_that_stands_twice_is_refused_where_settings_are_printed_too(capsys, tmp_path):
    file = write(tmp_path / "run.yaml", "pepo: {alpha: 0.1}\npepo: {temperature: 2}\n")
    assert "run.yaml: line 2 has the key 'pepo' again" in error_line(capsys, "--config", file, "--print_config")


@pytest.mark.parametrize(
    ("text", "section"), [("actor: 3\nrun: {dir: x}", "actor"), ("actor: {adam: null}", "actor.adam")]
)
def test_a_section_without_settings_is_refused(capsys, tmp_path, text, section):
    line = error_line(capsys, "--config", write(tmp_path / "run.yaml", text))
    assert f"section {section} takes settings below it" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pepo: {alpha: }", "--pepo.settings.alpha must be a number, not None"),
        ("pepo: {method: }", "--pepo.method has no value: give it one, or leave it out"),
        ("run: {dir: ~}", "--run.dir has no value"),
        ("train: {batch_size: null}", "--train.batch_size has no value"),
        ("actor: {adam: {lr: null}}", "--actor.adam.lr has no value"),
        ("pepo: fast", "section pepo takes settings below it, and no value of its own"),
        ("on: 1", "--config: the key True of a configuration file is no text: quote it"),
        ("pepo: {1: 2}", "--config: the key 1 of a configuration file is no text"),
    ],
)
def test_a_file_with_a_value_or_a_key_that_cannot_be_is_refused(capsys, tmp_path, text, message):
    assert message in error_line(capsys, "--config", write(tmp_path / "run.yaml", text))


def test_what_may_have_no_value_has_none_by_default():
    """By which the parser tells whether null may be given."""

    def fields(section):
        types = typing.get_type_hints(type(section))
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            yield from fields(value) if dataclasses.is_dataclass(value) else [(value, types[field.name])]

    optional = [value for value, annotation in fields(Config()) if type(None) in typing.get_args(annotation)]
    assert len(optional) > 10 and set(optional) == {None}


@pytest.mark.parametrize("words", [["a", "b"], ["a", "-pepo.alpha", "0.1"]])
def test_a_second_word_is_not_taken_into_a_text(capsys, words):
    line = error_line(capsys, "--run.dir", *words)
    assert f"--run.dir takes one value, not [{', '.join(words)}]: put a text with spaces in quotes" in line


def test_the_value_of_a_secret_is_not_repeated(capsys, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_PASSWORD", "s3cret-of-mine")
    assert "Got value: ***" in error_line(capsys, "--actor.adam.lr", "s3cret-of-mine")
    assert "not '***'" in error_line(capsys, "--pepo.settings.alpha", "s3cret-of-mine")


def test_settings_that_cannot_work_together_are_told_in_one_line(capsys):
    line = error_line(capsys, "--rollout.n_samples_per_prompt", "1", "--train.batch_size", "8")
    assert "--rollout.n_samples_per_prompt above 1" in line


def test_a_task_brings_its_rewards_unless_others_are_given():
    assert parse_arguments([*REQUIRED, "--data.task", "refcoco"]).reward.functions == ["format", "iou", "iou50"]
    given = [*REQUIRED, "--data.task", "refcoco", "--reward.functions", "format", "accuracy"]
    assert parse_arguments(given).reward.functions == ["format", "accuracy"], "also where they are the defaults"


def test_a_task_in_a_folder_outside_brings_its_own_verifiers(shapes):
    config = parse_arguments([*REQUIRED, "--data.task", f"{shapes}:SHAPES"])
    assert config.reward.functions == ["format", f"{shapes}:shape", "accuracy"]


def test_an_unknown_task_is_one_line_with_its_flag(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments([*REQUIRED, "--data.task", "refcocoo"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: --data.task: unknown task 'refcocoo'; choose one of algo")

"""Command line and YAML to settings, by jsonargparse. What a user gets wrong is told in one line, with exit code 2."""

from __future__ import annotations

import difflib
import re
import sys
import traceback
from argparse import Action, ArgumentError
from collections.abc import Iterable, Sequence

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace, set_loader, set_parsing_settings

from pepo_rlhf.config import unique_keys
from pepo_rlhf.config.moved import MOVED, rename_flag
from pepo_rlhf.config.secret_names import redact
from pepo_rlhf.config.settings import Config
from pepo_rlhf.config.upstream import DROPPED
from pepo_rlhf.config.validate import ConfigError, validate
from pepo_rlhf.core.weighting import BUILT_IN, own_settings

set_parsing_settings(docstring_parse_attribute_docstrings=True)
set_loader("yaml", unique_keys.load, exceptions=(yaml.YAMLError,))

# jsonargparse's words for an unknown flag, an unknown section of a file, and an unknown setting of a section.
_UNKNOWN = re.compile(
    r"unrecognized arguments: --(\S+)|Option '(\S+)' is not accepted|Group '(\S+)' does not accept option '(\S+)'"
)
# Other messages of jsonargparse, and clearer ones.
_REWORDED = (
    (r'Parser key "([\w.]+)":', r"--\1:"),
    (r"<class '(\w+)'>", r"\1"),
    (r"a typing\.Literal\[(.*?)\]", r"one of \1"),
    (r"^Unexpected config:", "--config: a configuration file holds sections of settings, not:"),
    (r"^Problems parsing config:", "--config: a configuration file is not valid YAML:"),
    (r"^Key must be a string, got: (.*)\.", r"--config: the key \1 of a configuration file is no text: quote it"),
    (r"^--([\w.]+): Unable to load config .*", r"section \1 takes settings below it, and no value of its own"),
)


def parse_arguments(argv: Sequence[str] | None = None, *, validated: bool = True) -> Config:
    """Return valid settings from `--config FILE` and dotted flags, later ones winning; None takes the command line.

    With `validated` False the rules of validate.py are left to the caller; names and types of settings are checked.

    Raises:
        SystemExit: 2 after one line on stderr when a flag, a file or a combination of settings is wrong;
            0 after --help and --print_config.
    """
    try:
        config = read_settings(sys.argv[1:] if argv is None else argv)
        _require_settings_of_weighting(config)
        if validated:
            validate(config)
    except ConfigError as error:
        print(f"error: {redact(' '.join(str(error).split()))}", file=sys.stderr)
        raise SystemExit(2) from None
    return config


def read_settings(argv: Sequence[str]) -> Config:
    """Return the settings of a command line, not yet validated.

    Raises:
        ConfigError: if a flag or a file is wrong.
        SystemExit: 0 after --help and --print_config.
    """
    parser = ArgumentParser(
        usage="%(prog)s [--config FILE] [--section.name VALUE ...]", exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", action=_ConfigFile, help="YAML file of settings; flags after it override it.")
    parser.add_class_arguments(Config)
    defaults = parser.get_defaults()
    try:
        words = _in_yaml(argv, defaults)
        parsed = parser.parse_args(words)
        if parsed.data.task:
            parser.set_defaults({"reward.functions": _rewards_of(parsed.data.task)})
            parsed = parser.parse_args(words)
        _require_values_where_they_belong(parsed, defaults)
        settings = parser.instantiate(parsed)
    except UnicodeDecodeError as error:
        raise ConfigError(f"--config: a configuration file is not UTF-8 text: {error}") from error
    except OverflowError as error:
        raise ConfigError(f"--{_flag_being_read(error)} is too large a number: give a smaller one") from error
    except ArgumentError as error:
        raise ConfigError(_explain(str(error), known=[*defaults.keys(), *MOVED])) from error
    del settings["config"]
    return Config(**vars(settings))


class _ConfigFile(ActionConfigFile):
    """A file whose pepo.settings join those of earlier files, where jsonargparse would replace them all."""

    @staticmethod
    def apply_config(parser, cfg, dest, value) -> None:
        earlier = cfg.get("pepo.settings") or {}
        ActionConfigFile.apply_config(parser, cfg, dest, value)
        if isinstance(later := cfg.get("pepo.settings"), dict):
            cfg["pepo.settings"] = {**earlier, **later}


def _require_settings_of_weighting(config: Config) -> None:
    """Raise ConfigError unless a built-in weighting has the settings, with values of their types."""
    if config.pepo.method in BUILT_IN:  # a user's file is not run to read settings
        try:
            own_settings(config.pepo.method, config.pepo.settings)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _in_yaml(argv: Sequence[str], defaults: Namespace) -> list[str]:
    """Return the words with `--flag` and `--flag 1 2`, as OpenRLHF's recipes write them, as YAML: `true`, `[1, 2]`."""
    groups: list[list[str]] = []
    for word in argv:
        if not groups or word.startswith("--") or word == "-h":
            groups.append([rename_flag(word)])
        else:
            groups[-1].append(word)
    words = []
    for flag, *values in groups:
        default = defaults.get(flag.removeprefix("--"))
        if not values and isinstance(default, bool):
            values = ["true"]
        if len(values) > 1 or (values and isinstance(default, list) and not values[0].startswith("[")):
            values = [f"[{', '.join(values)}]"]
        words += [flag, *values]
    return words


def _require_values_where_they_belong(parsed: Namespace, defaults: Namespace) -> None:
    """Raise ConfigError for values that jsonargparse lets through; what may have no value has none by default."""
    known = set(defaults.keys())
    for name, value in parsed.items():
        if name not in known:  # `actor: 3` in a file: it goes on with the defaults of the whole section
            section = name.removesuffix(".__path__")
            raise ConfigError(f"section {section} takes settings below it, not {value!r}")
        if value is None and defaults[name] is not None:  # `alpha:` in a file
            raise ConfigError(f"--{name} has no value: give it one, or leave it out")
        if isinstance(value, str) and value.startswith("["):  # `--run.dir a b`, which _in_yaml took for a list
            raise ConfigError(f"--{name} takes one value, not {value}: put a text with spaces in quotes")


def _rewards_of(task: str) -> list[str]:
    from pepo_rlhf.tasks.discovery import reward_names  # loads images and numbers, which most runs do not need here

    try:
        return reward_names(task)
    except ValueError as error:
        raise ConfigError(f"--data.task: {error}") from error


def _flag_being_read(error: BaseException) -> str:
    # jsonargparse names the flag of a wrong value itself, but lets the error of a whole number beyond floats through.
    readers = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
    return [reader.dest for reader in readers if isinstance(reader, Action)][-1]


def _explain(message: str, known: Iterable[str]) -> str:
    message = " ".join(message.split())
    unknown = _UNKNOWN.search(message)
    if unknown is None:
        for pattern, clearer in _REWORDED:
            message = re.sub(pattern, clearer, message)
        return message
    flag = ".".join(part for part in unknown.groups() if part).partition("=")[0]
    if reason := DROPPED.get(flag) or DROPPED.get(flag.partition(".")[0]):
        return f"--{flag} is not offered here: {reason}"
    similar = difflib.get_close_matches(flag, known, n=1)
    return f"--{flag} is not a setting; " + (f"did you mean --{similar[0]}?" if similar else "--help lists them all")

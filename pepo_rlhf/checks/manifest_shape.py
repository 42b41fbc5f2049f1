"""The shape that `check --manifest` relies on: which fields it reads and what may stand there.

KubeRay's own schemas say far more; this is what makes every other check safe to calculate with.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_UNITS |= {unit: 1000.0**power for power, unit in enumerate("MGTPE", start=2)}
_UNITS |= {f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTPE", start=1)}
_QUANTITY = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)([numkMGTPE]|[KMGTPE]i)?")


class Value(NamedTuple):
    """A field that is neither mapping nor list."""

    fits: Callable[[Any], bool]
    wanted: str


def quantity(text: str | float) -> float:
    """Number of a Kubernetes quantity, such as 500m or 16Gi."""
    if not (match := _QUANTITY.fullmatch(str(text))):
        raise ValueError(f"{text!r} is no Kubernetes quantity, such as 8, 500m or 16Gi")
    return float(match[1]) * _UNITS[match[2] or ""]


def _is_quantity(value: Any) -> bool:
    return not isinstance(value, bool) and _QUANTITY.fullmatch(str(value)) is not None


def _is_version(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(Version(value))
    except InvalidVersion:
        return False


_TEXT = Value(lambda value: isinstance(value, str), "a text")
_SWITCH = Value(lambda value: isinstance(value, bool), "true or false")
_NUMBER = Value(lambda value: type(value) is int and value >= 0, "a whole number, such as 1")
_QUOTED_NUMBER = Value(lambda value: isinstance(value, str) and value.isdecimal(), 'a whole number in quotes, as "8"')
_QUANTITY_VALUE = Value(_is_quantity, "a quantity, such as 8, 500m or 16Gi")
_VERSION = Value(_is_version, 'a version in quotes, as "2.55.0"')
_ANY = "*"  # key that stands for every key of a mapping

# A mapping says what may stand under its keys, a list what each of its entries is.
_METADATA = {"name": _TEXT, "labels": {_ANY: _TEXT}}
_AMOUNTS = {_ANY: _QUANTITY_VALUE}
_SECURITY = {"runAsUser": _NUMBER}
_CONTAINER = {
    "name": _TEXT,
    "image": _TEXT,
    "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    "env": [{"name": _TEXT, "value": _TEXT}],
    "volumeMounts": [{"name": _TEXT, "mountPath": _TEXT, "subPath": _TEXT}],
    "securityContext": _SECURITY,
}
_VOLUME = {
    "name": _TEXT,
    "emptyDir": {"sizeLimit": _QUANTITY_VALUE},
    "persistentVolumeClaim": {"claimName": _TEXT},
    "configMap": {"name": _TEXT, "items": [{"key": _TEXT, "path": _TEXT}]},
}
_POD = {
    "spec": {
        "containers": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "volumes": [_VOLUME],
        "securityContext": _SECURITY,
        "restartPolicy": _TEXT,
    }
}
_GROUP = {"rayStartParams": {"num-cpus": _QUOTED_NUMBER, "num-gpus": _QUOTED_NUMBER}, "template": _POD}
_WORKERS = _GROUP | {"groupName": _TEXT, "suspend": _SWITCH}
_WORKERS |= dict.fromkeys(("replicas", "minReplicas", "maxReplicas", "numOfHosts"), _NUMBER)
_CLUSTER = {
    "rayVersion": _VERSION,
    "enableInTreeAutoscaling": _SWITCH,
    "authOptions": {"mode": _TEXT},
    "headGroupSpec": _GROUP,
    "workerGroupSpecs": [_WORKERS],
}
_JOB = {
    "entrypoint": _TEXT,
    "submissionMode": _TEXT,
    "backoffLimit": _NUMBER,
    "ttlSecondsAfterFinished": _NUMBER,
    "shutdownAfterJobFinishes": _SWITCH,
    "suspend": _SWITCH,
    "clusterSelector": {_ANY: _TEXT},
    "rayClusterSpec": _CLUSTER,
    "submitterPodTemplate": _POD,
}
_CLAIM = {"accessModes": [_TEXT], "resources": {"requests": {"storage": _QUANTITY_VALUE}}}
_SHAPES: dict[str, dict] = {
    "RayJob": {"metadata": _METADATA, "spec": _JOB},
    "RayCluster": {"metadata": _METADATA, "spec": _CLUSTER},
    "PersistentVolumeClaim": {"metadata": _METADATA, "spec": _CLAIM},
    "ConfigMap": {"metadata": _METADATA, "data": {_ANY: _TEXT}},
}
# Wherever a mapping above may have one of these, it must, and not an empty one.
_REQUIRED = {"metadata", "spec", "name", "headGroupSpec", "groupName", "template", "containers", "mountPath"}
_REQUIRED |= {"claimName", "accessModes", "storage", "key", "path"}


def shape_errors(resource: dict[str, Any]) -> Iterator[str]:
    """What stands where it cannot, a line each, with the field and what belongs there."""
    return _errors(resource, _SHAPES.get(resource["kind"], {}), "")


def _errors(value: Any, shape: Any, field: str) -> Iterator[str]:
    fits = shape.fits(value) if isinstance(shape, Value) else isinstance(value, type(shape))
    if not fits:
        yield f"{field} is {_describe(value)}: give it {_wanted(shape)}{', or leave it out' if value is None else ''}"
    elif isinstance(shape, list):
        for index, item in enumerate(value):
            yield from _errors(item, shape[0], f"{field}[{index}]")
    elif isinstance(shape, dict):
        for name, inner in ((name, shape[_ANY]) for name in value) if _ANY in shape else shape.items():
            below = f"{field}.{name}".lstrip(".")
            if name in _REQUIRED and _ANY not in shape and value.get(name) in (None, "", [], {}):
                yield f"{below} is missing or empty: give it {_wanted(inner)}"
            elif name in value:
                yield from _errors(value[name], inner, below)


def _wanted(shape: Any) -> str:
    return shape.wanted if isinstance(shape, Value) else "a mapping" if isinstance(shape, dict) else "a list"


def _describe(value: Any) -> str:
    """As YAML would say it, in a word."""
    if value is None:
        return "null"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)

"""The fields that `check --manifest` reads, and what may stand there.

KubeRay's own schemas say far more; this is what makes every other check safe to calculate with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from packaging.version import InvalidVersion, Version

from pepo_rlhf.checks.manifests.quantity import quantity


class Value(NamedTuple):
    """A field that is neither mapping nor list."""

    fits: Callable[[Any], bool]
    wanted: str


def _is_quantity(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and quantity(value) >= 0
    except ValueError:
        return False


def _is_version(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(Version(value))
    except InvalidVersion:
        return False


def _exactly(text: str) -> Value:
    return Value(lambda value: value == text, text)


_TEXT = Value(lambda value: isinstance(value, str), "a text")
_SWITCH = Value(lambda value: isinstance(value, bool), "true or false")
_NUMBER = Value(lambda value: type(value) is int and value >= 0, "a whole number, such as 1")
_POSITIVE = Value(lambda value: type(value) is int and value > 0, "a whole number above 0")
_DECIMAL = Value(lambda value: type(value) in (int, float) and 0 <= value < math.inf, "a number, such as 1")
_QUOTED_NUMBER = Value(
    lambda value: isinstance(value, str) and value.isdecimal() and _is_quantity(value),
    'a whole number in quotes, as "8"',
)
_QUANTITY = Value(_is_quantity, "a quantity, such as 8, 500m or 16Gi")
_VERSION = Value(_is_version, 'a version in quotes, as "2.55.0"')

ANY = "*"  # key that stands for every key of a mapping
# Wherever a mapping below may have one of these, it must, and not an empty one, unless a ? follows.
REQUIRED = {"apiVersion", "metadata", "spec", "name", "headGroupSpec", "groupName", "template", "containers"}
REQUIRED |= {"mountPath", "claimName", "accessModes", "storage", "key", "path"}

# A mapping says what may stand under its keys, a list what each of its entries is.
_TEXTS = {ANY: _TEXT}
_METADATA = {"name": _TEXT, "namespace": _TEXT, "labels": _TEXTS}
_AMOUNTS = {ANY: _QUANTITY}
_SECURITY = {"runAsUser": _NUMBER, "runAsNonRoot": _SWITCH, "privileged": _SWITCH}
_CONTAINER = {
    "name": _TEXT,
    "image": _TEXT,
    "command": [_TEXT],
    "args": [_TEXT],
    "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
    "env": [{"name": _TEXT, "value": _TEXT}],
    "ports": [{"name?": _TEXT, "containerPort": _NUMBER, "hostPort": _NUMBER}],
    "volumeMounts": [{"name": _TEXT, "mountPath": _TEXT, "subPath": _TEXT, "readOnly": _SWITCH}],
    "securityContext": _SECURITY,
}
_VOLUME = {
    "name": _TEXT,
    "emptyDir": {"medium": _TEXT, "sizeLimit": _QUANTITY},
    "persistentVolumeClaim": {"claimName": _TEXT, "readOnly": _SWITCH},
    "configMap": {"name": _TEXT, "items": [{"key": _TEXT, "path": _TEXT}]},
}
_POD = {
    "metadata?": {"labels": _TEXTS},
    "spec": {
        "containers": [_CONTAINER],
        "initContainers": [_CONTAINER],
        "volumes": [_VOLUME],
        "securityContext": _SECURITY,
        "restartPolicy": _TEXT,
        "serviceAccountName": _TEXT,
        "hostNetwork": _SWITCH,
    },
}
_GROUP = {
    "rayStartParams": {"num-cpus": _QUOTED_NUMBER, "num-gpus": _QUOTED_NUMBER},
    "resources": _AMOUNTS,
    "template": _POD,
}
_HEAD = _GROUP | {"serviceType": _TEXT, "enableIngress": _SWITCH, "headService": {"spec?": {"type": _TEXT}}}
_WORKERS = _GROUP | {"groupName": _TEXT, "suspend": _SWITCH}
_WORKERS |= dict.fromkeys(("replicas", "minReplicas", "maxReplicas", "numOfHosts"), _NUMBER)
_CLUSTER = {
    "rayVersion": _VERSION,
    "enableInTreeAutoscaling": _SWITCH,
    "suspend": _SWITCH,
    "authOptions": {"mode": _TEXT},
    "headGroupSpec": _HEAD,
    "workerGroupSpecs": [_WORKERS],
}
_JOB = {
    "entrypoint": _TEXT,
    "entrypointNumCpus": _DECIMAL,
    "entrypointNumGpus": _DECIMAL,
    "runtimeEnvYAML": _TEXT,
    "submissionMode": _TEXT,
    "activeDeadlineSeconds": _POSITIVE,
    "preRunningDeadlineSeconds": _POSITIVE,
    "submitterConfig": {"backoffLimit": _NUMBER},
    "backoffLimit": _NUMBER,
    "ttlSecondsAfterFinished": _NUMBER,
    "shutdownAfterJobFinishes": _SWITCH,
    "suspend": _SWITCH,
    "clusterSelector": _TEXTS,
    "rayClusterSpec": _CLUSTER,
    "submitterPodTemplate": _POD,
}
_CLAIM = {"accessModes": [_TEXT], "resources": {"requests": {"storage": _QUANTITY}}}
_PEER = {"podSelector": {}, "namespaceSelector": {}, "ipBlock": {"cidr": _TEXT}}
_POLICY = {
    "podSelector": {"matchLabels": _TEXTS},
    "policyTypes": [_TEXT],
    "ingress": [{"from": [_PEER], "ports": [{}]}],
}
SHAPES: dict[str, dict] = {
    "RayJob": {"apiVersion": _exactly("ray.io/v1"), "metadata": _METADATA, "spec": _JOB},
    "RayCluster": {"apiVersion": _exactly("ray.io/v1"), "metadata": _METADATA, "spec": _CLUSTER},
    "PersistentVolumeClaim": {"apiVersion": _exactly("v1"), "metadata": _METADATA, "spec": _CLAIM},
    "ConfigMap": {"apiVersion": _exactly("v1"), "metadata": _METADATA, "data": _TEXTS},
    "NetworkPolicy": {"apiVersion": _exactly("networking.k8s.io/v1"), "metadata": _METADATA, "spec": _POLICY},
    "Service": {"metadata": _METADATA, "spec": {"type": _TEXT, "selector": _TEXTS}},
}

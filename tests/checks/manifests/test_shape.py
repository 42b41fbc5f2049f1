"""A sound job and claim, with one field at a time that holds what cannot stand there."""

from __future__ import annotations

import copy
import functools
import json
import operator

import pytest

from pepo_rlhf.checks.manifests.shape import shape_errors

CONTAINER = {"name": "ray", "env": [{"name": "HOME", "value": "/"}], "resources": {"limits": {"memory": "1Gi"}}}
POD = {"spec": {"containers": [CONTAINER], "volumes": [{"name": "shm", "emptyDir": {"sizeLimit": "1Gi"}}]}}
HEAD = {"rayStartParams": {"num-cpus": "0"}, "template": POD}
WORKERS = HEAD | {"groupName": "gpu", "replicas": 1}
JOB = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "train", "labels": {"app": "train"}},
    "spec": {
        "entrypoint": "python -m pepo_rlhf.train",
        "backoffLimit": 2,
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": {"rayVersion": "2.55.0", "headGroupSpec": HEAD, "workerGroupSpecs": [WORKERS]},
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "runs"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}
CLUSTER = "spec.rayClusterSpec"
A_QUANTITY = "give it a quantity, such as 8, 500m or 16Gi"
HEAD_POD = f"{CLUSTER}.headGroupSpec.template.spec"


def broken(resource, field, value):
    """A copy of the resource with another value in a field, such as spec.list[0].name."""
    resource = json.loads(json.dumps(resource))  # head and workers share no part of the copy
    names = field.replace("[", ".").replace("]", "").split(".")
    *parents, last = [int(name) if name.isdigit() else name for name in names]
    functools.reduce(operator.getitem, parents, resource)[last] = value
    return resource


@pytest.mark.parametrize(
    ("resource", "field", "value", "problem"),
    [
        (JOB, "metadata", None, "is missing or empty: give it a mapping"),
        (JOB, "metadata.name", "", "is missing or empty: give it a text"),
        (JOB, "metadata.labels", None, "is null: give it a mapping, or leave it out"),
        (JOB, "metadata.labels.app", 3, "is 3: give it a text"),
        (JOB, "spec", None, "is missing or empty: give it a mapping"),
        (JOB, "spec", [1], "is a list: give it a mapping"),
        (JOB, "spec.entrypoint", ["python"], "is a list: give it a text"),
        (JOB, "spec.backoffLimit", -1, "is -1: give it a whole number, such as 1"),
        (JOB, "apiVersion", "ray.io/v1alpha1", "is 'ray.io/v1alpha1': give it ray.io/v1"),
        (JOB, "apiVersion", None, "is missing or empty: give it ray.io/v1"),
        (JOB, "spec.activeDeadlineSeconds", 0, "is 0: give it a whole number above 0"),
        (JOB, "spec.entrypointNumGpus", "1", "is '1': give it a number, such as 1"),
        (JOB, "spec.backoffLimit", True, "is True: give it a whole number, such as 1"),
        (JOB, "spec.shutdownAfterJobFinishes", "yes", "is 'yes': give it true or false"),
        (JOB, CLUSTER, None, "is null: give it a mapping, or leave it out"),
        (JOB, f"{CLUSTER}.rayVersion", "latest", "is 'latest': give it a version in quotes, as \"2.55.0\""),
        (JOB, f"{CLUSTER}.rayVersion", 2.55, 'is 2.55: give it a version in quotes, as "2.55.0"'),
        (JOB, f"{CLUSTER}.headGroupSpec", {}, "is missing or empty: give it a mapping"),
        (JOB, f"{CLUSTER}.headGroupSpec.template", None, "is missing or empty: give it a mapping"),
        (JOB, f"{CLUSTER}.headGroupSpec.rayStartParams.num-cpus", 0, 'is 0: give it a whole number in quotes, as "8"'),
        (JOB, f"{CLUSTER}.workerGroupSpecs", {"gpu": 1}, "is a mapping: give it a list"),
        (JOB, f"{CLUSTER}.workerGroupSpecs[0].replicas", "two", "is 'two': give it a whole number, such as 1"),
        (JOB, f"{HEAD_POD}.containers", [], "is missing or empty: give it a list"),
        (JOB, f"{HEAD_POD}.containers[0]", None, "is null: give it a mapping, or leave it out"),
        (JOB, f"{HEAD_POD}.containers[0].env", None, "is null: give it a list, or leave it out"),
        (JOB, f"{HEAD_POD}.containers[0].env[0].value", 1, "is 1: give it a text"),
        (JOB, f"{HEAD_POD}.containers[0].resources", None, "is null: give it a mapping, or leave it out"),
        (JOB, f"{HEAD_POD}.containers[0].resources.limits.memory", "1 Gi", f"is '1 Gi': {A_QUANTITY}"),
        (JOB, f"{HEAD_POD}.volumes[0].emptyDir", None, "is null: give it a mapping, or leave it out"),
        (JOB, f"{HEAD_POD}.volumes[0].emptyDir.sizeLimit", "128GB", f"is '128GB': {A_QUANTITY}"),
        (CLAIM, "spec", None, "is missing or empty: give it a mapping"),
        (CLAIM, "spec.accessModes", None, "is missing or empty: give it a list"),
        (CLAIM, "spec.resources.requests.storage", "-1Gi", f"is '-1Gi': {A_QUANTITY}"),
    ],
)
def test_what_cannot_stand_there_is_named_with_what_can(resource, field, value, problem):
    assert list(shape_errors(broken(resource, field, value))) == [f"{field} {problem}"]


def test_a_sound_resource_and_one_of_another_kind_have_no_errors():
    assert [*shape_errors(JOB), *shape_errors(CLAIM), *shape_errors({"kind": "Role", "spec": None})] == []


def test_a_field_that_is_missing_is_named():
    job = copy.deepcopy(JOB)
    del job["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert list(shape_errors(job)) == [f"{CLUSTER}.headGroupSpec is missing or empty: give it a mapping"]

"""Rendered overlays, and the schemas that they are held against."""

from __future__ import annotations

import functools
import gzip
from pathlib import Path

import jsonschema
import pytest
import yaml

from pepo_rlhf.checks.manifests.manifest import render

REPOSITORY = Path(__file__).parents[2]
OVERLAYS = sorted(path.parent for path in REPOSITORY.glob("k8s/overlays/*/kustomization.yaml"))
CRDS = Path(__file__).parent / "schemas"


@functools.cache
def rendered(overlay):
    return render(overlay)


@pytest.fixture(params=OVERLAYS, ids=lambda path: path.name)
def overlay(request):
    return request.param


@pytest.fixture
def resources(overlay):
    return rendered(overlay)


@functools.cache
def read_schema(kind):
    """Return the JSON schema of a custom resource, in which what is not named is an error."""
    with gzip.open(CRDS / f"ray.io_{kind.lower()}s.yaml.gz") as file:
        definition = yaml.load(file, Loader=yaml.CSafeLoader)
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in definition["spec"]["versions"] if v["name"] == "v1"]
    close(schema)
    schema["properties"]["apiVersion"] = {"const": "ray.io/v1"}  # by which the server chooses the schema
    schema["required"] = ["apiVersion", "kind", "metadata", "spec"]
    schema["properties"]["metadata"] = {"type": "object"}  # the API server knows what is in it
    return jsonschema.Draft202012Validator(schema)


def close(schema):
    """Turn OpenAPI's schema into a strict JSON schema, in place."""
    if schema.pop("x-kubernetes-int-or-string", False):
        schema["type"] = ["integer", "string"]
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = False
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in children:
        if isinstance(child, dict):
            close(child)


@pytest.fixture
def validate_custom():
    return lambda resource: read_schema(resource["kind"]).validate(resource)

"""Values of tokens, written where whoever may read the manifest, or Ray's dashboard, reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error
from pepo_rlhf.checks.manifests.parts import Resource, containers_of, templates
from pepo_rlhf.config.secret_names import looks_secret

_COMMENT = re.compile(r"(?:^|\s)#.*", re.MULTILINE)
# NAME=value of a shell, NAME: value of YAML, "NAME": "value" of JSON; $NAME is no value.
_ASSIGNMENT = re.compile(r"""\b([A-Z][A-Z0-9_]*)["']?[ \t]*[=:][ \t]*["']?[^\s"'$]""")


def check_secrets(resource: Resource) -> Iterator[Finding]:
    """Of a RayJob, a RayCluster or a ConfigMap."""
    if resource["kind"] == "ConfigMap":
        found = _in_config_map(resource)
    elif resource["kind"] in ("RayJob", "RayCluster"):
        found = _in_cluster(resource)
    else:
        return
    for where, name in dict.fromkeys(found):
        if looks_secret(name):
            yield error(f"{where} has the value of {name} in it: take it from a secretKeyRef of the pods")


def _in_config_map(config_map: Resource) -> Iterator[tuple[str, str]]:
    for key, text in config_map.get("data", {}).items():
        yield f"data.{key}", key if text else ""
        if not key.endswith(".py"):  # where a name may be given anything
            yield from _assigned(f"data.{key}", text)


def _in_cluster(cluster: Resource) -> Iterator[tuple[str, str]]:
    for field in ("entrypoint", "runtimeEnvYAML"):
        yield from _assigned(f"spec.{field}", cluster["spec"].get(field, ""))
    for name, template in templates(cluster):
        for container in containers_of(template):
            where = f"{name}: container {container['name']}"
            for variable in container.get("env", []):
                yield where, variable["name"] if variable.get("value") else ""
            yield from _assigned(where, "\n".join([*container.get("command", []), *container.get("args", [])]))


def _assigned(where: str, text: str) -> Iterator[tuple[str, str]]:
    """Each variable that a text gives a value to."""
    for name in _ASSIGNMENT.findall(_COMMENT.sub("", text)):
        yield where, name

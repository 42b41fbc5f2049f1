"""What the pods of a manifest run, what they ask for, and with which rights."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks import versions
from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.manifests.parts import GPU, Resource, cluster_spec, containers_of, find, tag_words, templates
from pepo_rlhf.checks.manifests.quantity import quantity


def check_image(cluster: Resource) -> Iterator[Finding]:
    """Client, head and workers must run one Ray, the one that setup.py pins."""
    pinned, stated = versions.pinned_version("ray"), cluster_spec(cluster).get("rayVersion")
    if stated != pinned:
        yield error(f"rayVersion is {stated}, setup.py pins ray {pinned}: write the pinned one")
    images = sorted({template["spec"]["containers"][0].get("image", "") for _, template in templates(cluster)})
    if len(images) > 1:
        yield error(f"head, workers and submitter run different images: {', '.join(images)}: give them one")
    for image in images:
        if f"ray{pinned}" not in tag_words(image):
            yield error(f"the tag of image {image} does not say ray{pinned}, the version that setup.py pins")


def check_pods(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """No container asks for what Kubernetes refuses, or may run as root."""
    for name, template in templates(cluster):
        account = template["spec"].get("serviceAccountName", "default")
        if account != "default" and account not in find(resources, "ServiceAccount"):
            yield warning(f"{name}: serviceAccountName {account} is not among the manifests; it must exist")
        for container in containers_of(template):
            where = f"{name}: container {container['name']}"
            rights = template["spec"].get("securityContext", {}) | container.get("securityContext", {})
            yield from _check_rights(where, rights)
            yield from _check_requests(where, container.get("resources", {}))


def _check_rights(where: str, rights: Resource) -> Iterator[Finding]:
    if rights.get("privileged"):
        yield error(f"{where} is privileged, and root of its node: leave securityContext.privileged out")
    if rights.get("runAsUser") == 0:
        yield error(f"{where} runs as root: set securityContext.runAsUser to 1000, the user of Ray's images")
    elif not rights.get("runAsNonRoot"):
        yield warning(f"{where} runs as root if its image says so: set securityContext.runAsNonRoot to true")


def _check_requests(where: str, resources: Resource) -> Iterator[Finding]:
    """Kubernetes refuses a request above its limit and, as it shares no GPU, one of GPUs that is not its limit."""
    limits = resources.get("limits", {})
    for name, asked in resources.get("requests", {}).items():
        limit = limits.get(name)
        if name == GPU and (limit is None or quantity(asked) != quantity(limit)):
            yield error(f"{where} requests {asked} {GPU}, its limit is {limit or 'absent'}: give both the same number")
        elif limit is not None and quantity(asked) > quantity(limit):
            yield error(f"{where} requests {asked} {name}, its limit is {limit}: lower the request")

"""Who reaches the pods of a manifest: whoever reaches Ray's dashboard, client port or GCS runs code on the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from pepo_rlhf.checks.finding import Finding, error, warning
from pepo_rlhf.checks.manifests.parts import Resource, cluster_spec, containers_of, find, groups

_PUBLIC_SERVICES = ("LoadBalancer", "NodePort")
_METRICS = (8080, "metrics")  # tell much and run nothing


def check_network(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    """A NetworkPolicy selects head and workers and keeps everyone else out, and no Service takes them in."""
    policies = {name: policy["spec"] for name, policy in find(resources, "NetworkPolicy").items()}
    closing = set()
    for group in groups(cluster):
        selecting = {name for name, policy in policies.items() if _selects(policy, _labels_of(group))}
        closing |= selecting
        if not selecting:
            yield warning(
                f"{group.get('groupName', 'head')}: no NetworkPolicy among the manifests selects the pod, and whoever "
                "reaches its ports runs code: add one for Ingress, or mend its podSelector"
            )
    for name in sorted(closing):
        if any(map(_lets_everyone_in, policies[name].get("ingress", []))):
            yield error(f"NetworkPolicy {name} lets everyone in to run code: name in `from` who may reach the pods")
    yield from _check_services(cluster, resources)
    for group in groups(cluster):
        ports = [port for container in containers_of(group["template"]) for port in container.get("ports", [])]
        if group["template"]["spec"].get("hostNetwork") or any("hostPort" in port for port in ports):
            yield error(
                f"{group.get('groupName', 'head')}: hostNetwork and hostPort open Ray's ports on the node, where no "
                "NetworkPolicy holds and outsiders run code: leave them out"
            )


def _check_services(cluster: Resource, resources: list[Resource]) -> Iterator[Finding]:
    head = cluster_spec(cluster)["headGroupSpec"]
    types = {"headGroupSpec.serviceType": head.get("serviceType")}
    types["headGroupSpec.headService"] = head.get("headService", {}).get("spec", {}).get("type")
    for name, service in find(resources, "Service").items():
        selector = service["spec"].get("selector", {})
        if selector and any(_fits(selector, _labels_of(group)) for group in groups(cluster)):
            types[f"Service {name}"] = service["spec"].get("type")
    for where, kind in types.items():
        if kind in _PUBLIC_SERVICES:
            yield error(f"{where} is a {kind}, through which outsiders run code: make it ClusterIP and port-forward")
    if head.get("enableIngress"):
        yield error("headGroupSpec.enableIngress publishes the dashboard, which runs code: leave it out, port-forward")


def _labels_of(group: Resource) -> dict[str, str]:
    return group["template"].get("metadata", {}).get("labels", {})


def _selects(policy: Resource, labels: dict[str, str]) -> bool:
    """Whether it closes pods with these labels; matchExpressions are taken to."""
    return "Ingress" in policy.get("policyTypes", ["Ingress"]) and _fits(
        policy.get("podSelector", {}).get("matchLabels", {}), labels
    )


def _fits(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether it selects a pod, to which KubeRay adds labels of its own."""
    return all(name.startswith("ray.io/") or labels.get(name) == value for name, value in selector.items())


def _lets_everyone_in(rule: Resource) -> bool:
    ports = [port.get("port") for port in rule.get("ports", [])]
    if ports and all(port in _METRICS for port in ports):
        return False
    return not rule.get("from") or any(map(_is_everyone, rule["from"]))


def _is_everyone(peer: Resource) -> bool:
    """Every address, or every pod of the cluster."""
    anywhere = peer.get("ipBlock", {}).get("cidr") in ("0.0.0.0/0", "::/0")
    return anywhere or (peer.get("namespaceSelector") == {} and not peer.get("podSelector"))

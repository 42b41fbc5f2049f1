"""A shipped manifest that lets outsiders reach Ray's ports."""

from __future__ import annotations

import re

import pytest

HEAD = "RayJob spec.rayClusterSpec.headGroupSpec"
OWN = {"app.kubernetes.io/name": "pepo-rlhf"}
OUTSIDERS = {"namespaceSelector": {}}


SERVICE = "\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: door}}\nspec: {{type: {}, selector: {}}}\n"


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("NetworkPolicy kind", "Elsewhere", "warning: head: no NetworkPolicy among the manifests selects the pod"),
        ("NetworkPolicy spec.policyTypes", ["Egress"], "warning: gpu: no NetworkPolicy .* selects the pod"),
        ("NetworkPolicy spec.podSelector.matchLabels", {"app": "other"}, "warning: gpu: no NetworkPolicy"),
        (f"{HEAD}.template.metadata", {"labels": {"app": "other"}}, "warning: head: no NetworkPolicy"),
        (f"{HEAD}.template.metadata", None, "warning: head: no NetworkPolicy"),
        ("NetworkPolicy spec.ingress", [{}], "error: NetworkPolicy pepo-rlhf lets everyone in"),
        ("NetworkPolicy spec.ingress[0].from", [], "error: NetworkPolicy pepo-rlhf lets everyone in"),
        (
            "NetworkPolicy spec.ingress[0]",
            {"ports": [{"port": 8265}]},
            "error: NetworkPolicy pepo-rlhf lets everyone in",
        ),
        (
            "NetworkPolicy spec.ingress[0].from",
            [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
            "error: NetworkPolicy .* everyone",
        ),
        ("NetworkPolicy spec.ingress[1].from", [OUTSIDERS], "error: NetworkPolicy pepo-rlhf lets everyone in"),
        (f"{HEAD}.serviceType", "LoadBalancer", "error: headGroupSpec.serviceType is a LoadBalancer"),
        (f"{HEAD}.headService", {"spec": {"type": "NodePort"}}, "error: headGroupSpec.headService is a NodePort"),
        (
            f"{HEAD}.template.spec.hostNetwork",
            True,
            "error: head: hostNetwork and hostPort open Ray's ports on the node",
        ),
        (f"{HEAD}.template.spec.containers[0].ports[1].hostPort", 8265, "error: head: hostNetwork and hostPort open"),
        (f"{HEAD}.enableIngress", True, "error: headGroupSpec.enableIngress publishes the dashboard"),
    ],
)
def test_an_open_door_is_found(check_overlay, field, value, expected):
    found = check_overlay(fields=[(field, value)])
    assert any(re.match(expected, line) for line in found), found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("NetworkPolicy spec.podSelector", {}),
        ("NetworkPolicy spec.policyTypes", None),
        ("NetworkPolicy spec.ingress", []),
        ("NetworkPolicy spec.ingress[0]", {"ports": [{"port": 8080}]}),
        ("NetworkPolicy spec.ingress[0].from", [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"podSelector": {}}]),
        (f"{HEAD}.serviceType", "ClusterIP"),
    ],
)
def test_a_door_for_some_is_left_alone(check_overlay, field, value):
    assert check_overlay(fields=[(field, value)]) == []


@pytest.mark.parametrize(
    ("kind", "selector", "expected"),
    [
        ("LoadBalancer", OWN, ["error: Service door is a LoadBalancer"]),
        (
            "NodePort",
            {"ray.io/node-type": "head"},
            ["error: Service door is a NodePort"],
        ),
        ("ClusterIP", OWN, []),
        ("LoadBalancer", {"app": "other"}, []),
    ],
)
def test_services(check_overlay, kind, selector, expected):
    found = check_overlay(texts=[("$", SERVICE.format(kind, selector))])
    assert [line.partition(", through")[0] for line in found] == expected

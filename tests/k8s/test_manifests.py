"""Every overlay, rendered and compared with schemas, the operator's rules and its own training file."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import kubernetes_validate
import pytest

from pepo_rlhf.checks import versions
from pepo_rlhf.checks.manifests import manifest
from pepo_rlhf.checks.manifests.deployment import read_deployment
from pepo_rlhf.config import parse_arguments

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = "1.34"  # of Kubernetes
TRAINING_FILES = {"spot": "single-node"}  # overlays that ship the file of another one


def clusters(resources):
    return [resource for resource in resources if resource["kind"] in ("RayJob", "RayCluster")]


def cluster_spec(cluster):
    """Return the spec of a RayCluster, or of the one that a RayJob starts."""
    return cluster["spec"] if cluster["kind"] == "RayCluster" else cluster["spec"]["rayClusterSpec"]


def templates(resources):
    """Yield the pod templates of head, workers and submitter, each with its name."""
    for cluster in clusters(resources):
        yield "head", cluster_spec(cluster)["headGroupSpec"]["template"]
        for group in cluster_spec(cluster)["workerGroupSpecs"]:
            yield group["groupName"], group["template"]
        if submitter := cluster["spec"].get("submitterPodTemplate"):
            yield "submitter", submitter


def pods(resources):
    """Yield the pod specs of head, workers and submitter, each with its name."""
    return ((name, template["spec"]) for name, template in templates(resources))


def test_core_kinds_pass_kubernetes_schemas_strictly(resources):
    core = [resource for resource in resources if resource not in clusters(resources)]
    assert {resource["kind"] for resource in core} == {"ConfigMap", "NetworkPolicy", "PersistentVolumeClaim"}
    for resource in core:
        kubernetes_validate.validate(resource, SCHEMAS, strict=True)


def test_pods_pass_kubernetes_schemas_strictly(resources):
    for name, spec in pods(resources):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        kubernetes_validate.validate(pod, SCHEMAS, strict=True)


def test_custom_resources_pass_their_definitions_strictly(resources, validate_custom):
    (cluster,) = clusters(resources)
    validate_custom(cluster)
    misspelt = copy.deepcopy(cluster)
    cluster_spec(misspelt)["rayVersoin"] = "2.55.0"
    with pytest.raises(jsonschema.ValidationError, match="rayVersoin"):
        validate_custom(misspelt)
    for changed in (
        cluster | {"apiVersion": "ray.io/v2"},
        {key: cluster[key] for key in cluster if key != "apiVersion"},
    ):
        with pytest.raises(jsonschema.ValidationError, match="ray.io/v1|apiVersion"):
            validate_custom(changed)


def test_rules_of_the_operator_that_no_schema_has_hold(resources):
    (cluster,) = clusters(resources)
    spec, ray = cluster["spec"], cluster_spec(cluster)
    # What the operator appends to a name must fit into 63 characters of a DNS label.
    assert re.fullmatch("[a-z][-a-z0-9]{,45}[a-z0-9]", cluster["metadata"]["name"])
    assert not {"upgradeStrategy", "networkPolicy", "tlsOptions", "enableInTreeAutoscaling"} & set(ray)
    for group in ray["workerGroupSpecs"]:
        assert group["minReplicas"] == group["replicas"] == group["maxReplicas"]
    for group in (ray["headGroupSpec"], *ray["workerGroupSpecs"]):
        assert "resources" not in group and "labels" not in group["rayStartParams"]
    # Kueue sets suspend itself.
    assert "kueue.x-k8s.io/queue-name" in cluster["metadata"]["labels"] and "suspend" not in spec
    if cluster["kind"] == "RayJob":
        assert (
            spec["submissionMode"] == "K8sJobMode" and spec["submitterPodTemplate"]["spec"]["restartPolicy"] == "Never"
        )
        ports = ray["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
        assert {"name": "dashboard", "containerPort": 8265} in ports  # through which jobs are submitted


def test_all_pods_run_one_image_of_the_pinned_ray(resources):
    (cluster,) = clusters(resources)
    (image,) = {spec["containers"][0]["image"] for _, spec in pods(resources)}
    pinned = versions.pinned_version("ray")
    assert cluster_spec(cluster)["rayVersion"] == pinned and f"-ray{pinned}-" in image


def test_every_kind_of_cluster_is_shipped():
    kinds = {
        path.parent.name: clusters(manifest.render(path.parent))[0]["kind"]
        for path in REPOSITORY.glob("k8s/overlays/*/kustomization.yaml")
    }
    assert kinds == {
        "cpu-rehearsal": "RayJob",
        "multi-node": "RayJob",
        "single-node": "RayJob",
        "spot": "RayJob",
        "standing-cluster": "RayCluster",
    }


def test_manifest_and_training_file_agree(overlay):
    file = overlay.parent / TRAINING_FILES.get(overlay.name, overlay.name) / "train.yaml"
    config = parse_arguments(["--config", str(file)])
    inputs = SimpleNamespace(config=config, num_parameters=4 * 10**9, num_adapter_parameters=0)
    if config.actor.model_name_or_path.startswith("/opt/rehearsal"):
        inputs.num_parameters = 10**6
    findings = list(manifest.check_manifest(inputs, overlay))
    assert [finding for finding in findings if finding.level != "ok"] == []
    assert any(finding.message.endswith(" starts the settings that are checked") for finding in findings)


def test_pods_are_confined(resources):
    for _, spec in pods(resources):
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == 1000
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]["limits"]) >= {"cpu", "memory"}


def test_gpus_are_on_workers_alone_and_tolerated(resources):
    (cluster,) = clusters(resources)
    assert read_deployment(cluster, resources).pods[0].ray == {"GPU": 0, "CPU": 0}
    for group in cluster_spec(cluster)["workerGroupSpecs"]:
        tolerations = group["template"]["spec"]["tolerations"]
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in tolerations


def test_secrets_are_references(resources):
    for _, spec in pods(resources):
        for variable in spec["containers"][0].get("env", []):
            if re.search("TOKEN|KEY|SECRET|PASSWORD", variable["name"]):
                assert variable["valueFrom"]["secretKeyRef"]["optional"] is True and "value" not in variable


def test_outsiders_reach_no_port_of_any_pod(resources):
    (policy,) = [resource for resource in resources if resource["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    own = {"app.kubernetes.io/name": "pepo-rlhf"}
    assert policy["spec"]["podSelector"]["matchLabels"] == own
    from_own, from_operator = policy["spec"]["ingress"]
    assert from_own == {"from": [{"podSelector": {"matchLabels": own}}]}
    assert from_operator["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
    assert from_operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert all(template["metadata"]["labels"] == own for _, template in templates(resources))


def test_pods_of_the_cluster_let_the_run_end_its_step_before_ray_is_killed(resources):
    for name, spec in pods(resources):
        if name == "submitter":
            continue
        (container,) = spec["containers"]
        shell, option, command = container["lifecycle"]["preStop"]["exec"]["command"]
        seconds, words = re.fullmatch(r"timeout (\d+) python -m pepo_rlhf\.stop (.*)", command).groups()
        assert (shell, option) == ("sh", "-c") and words == "/mnt/runs/* --reason preempted --wait"
        assert "/mnt/runs" in {mount["mountPath"] for mount in container["volumeMounts"]}
        # What is left is for the end of Ray's own processes.
        assert spec["terminationGracePeriodSeconds"] >= int(seconds) + 60


def test_jobs_end_and_are_retried(resources):
    for job in (cluster for cluster in clusters(resources) if cluster["kind"] == "RayJob"):
        spec = job["spec"]
        assert spec["shutdownAfterJobFinishes"] and spec["ttlSecondsAfterFinished"] > 0
        assert spec["backoffLimit"] >= 2 and spec["activeDeadlineSeconds"] > 0 and spec["preRunningDeadlineSeconds"] > 0


def test_dockerfile_has_the_pinned_ray():
    text = (REPOSITORY / "k8s" / "Dockerfile").read_text()
    assert re.findall(r"^ARG RAY_VERSION=(.*)$", text, re.M) == [versions.pinned_version("ray")]
    assert all("${RAY_VERSION}" in image for image in re.findall(r"^FROM (rayproject/ray:\S+)", text, re.M))

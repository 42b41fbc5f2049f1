"""Rules that KubeRay 1.7's operator enforces on RayJob and RayCluster and that their schemas cannot carry.

A rule is a function of the resource, as YAML has it, that returns what is wrong in one line, or None.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import yaml
from packaging.version import Version

from pepo_rlhf.checks.manifests.parts import Resource, cluster_spec, container_of, groups, worker_groups

_LONGEST_NAME = {"RayJob": 47, "RayCluster": 53}  # what the operator appends must fit into 63 characters
_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # RFC 1035
_SUBMISSION_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
_RESOURCE_PARAMETERS = ("num-cpus", "num-gpus", "memory", "resources")
_LEAST_RAY_FOR_TOKENS = Version("2.52")
_SELECTED = "ray.io/cluster"
_DASHBOARD_PORT = "8265"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
KUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_MOST_KUEUE_GROUPS = 17


def name_is_a_short_dns_label(resource: Resource) -> str | None:
    name, longest = resource["metadata"]["name"], _LONGEST_NAME[resource["kind"]]
    if len(name) <= longest and _DNS_LABEL.fullmatch(name):
        return None
    return f"metadata.name {name!r} must be at most {longest} of a-z, 0-9 and dashes, and begin with a letter"


def submission_mode_is_known(resource: Resource) -> str | None:
    mode = resource["spec"].get("submissionMode", "K8sJobMode")
    if resource["kind"] == "RayJob" and mode not in _SUBMISSION_MODES:
        return f"spec.submissionMode {mode!r} is none of {', '.join(_SUBMISSION_MODES)}"
    return None


def jobs_have_a_cluster(resource: Resource) -> str | None:
    spec = resource["spec"]
    if resource["kind"] == "RayJob" and not (spec.get("rayClusterSpec") or spec.get("clusterSelector")):
        return "spec needs a rayClusterSpec, or the clusterSelector of a cluster that is there"
    if spec.get("clusterSelector") and not spec["clusterSelector"].get(_SELECTED):
        return f"spec.clusterSelector names no cluster: write {_SELECTED}: NAME"
    return None


def jobs_reach_the_dashboard(resource: Resource) -> str | None:
    """Through which the operator submits a job and asks for its status, by the head's port of that name."""
    if resource["kind"] != "RayJob" or not (head := cluster_spec(resource).get("headGroupSpec")):
        return None
    start = head.get("rayStartParams") or {}
    if str(start.get("include-dashboard", True)).lower() != "true" or start.get("dashboard-host") in _LOOPBACK:
        return "the operator reaches no dashboard to submit to: leave include-dashboard out, dashboard-host at 0.0.0.0"
    ports = {port.get("name"): str(port.get("containerPort")) for port in container_of(head).get("ports", [])}
    serves = str(start.get("dashboard-port", _DASHBOARD_PORT))
    if ports and ports.get("dashboard") != serves:
        return f"the head's ports need one called dashboard, which is {serves}, as the operator submits through it"
    return None


def submitters_end(resource: Resource) -> str | None:
    template = resource["spec"].get("submitterPodTemplate", {})
    if template.get("spec", {}).get("restartPolicy") == "Always":
        return "submitterPodTemplate.spec.restartPolicy Always is refused for the pod of a Job: write Never"
    return None


def worker_groups_have_names_of_their_own(resource: Resource) -> str | None:
    """The operator tells the pods of groups apart by them, and would remove one group's as too many of the other's."""
    counts = Counter(group["groupName"] for group in worker_groups(resource) if "groupName" in group)
    twice = [name for name, count in counts.items() if count > 1]
    return f"two worker groups are called {twice[0]!r}: give each a name of its own" if twice else None


def finished_jobs_shut_down(resource: Resource) -> str | None:
    spec = resource["spec"]
    if resource["kind"] != "RayJob" or spec.get("shutdownAfterJobFinishes"):
        return None
    for field in ("ttlSecondsAfterFinished", "suspend"):
        if spec.get(field):
            return f"spec.{field} needs spec.shutdownAfterJobFinishes: true"
    return None


def replicas_have_bounds(resource: Resource) -> str | None:
    if cluster_spec(resource).get("enableInTreeAutoscaling"):
        return None
    for group in worker_groups(resource):
        least, most = group.get("minReplicas"), group.get("maxReplicas")
        if least is None or most is None or least > most:
            return f"{_name(group)} needs minReplicas and maxReplicas, the first not above the second"
    return None


def resources_are_said_once(resource: Resource) -> str | None:
    for group in groups(resource):
        twice = [name for name in _RESOURCE_PARAMETERS if name in (group.get("rayStartParams") or {})]
        if group.get("resources") and twice:
            return f"{_name(group)} has resources both of its own and in rayStartParams ({', '.join(twice)}): keep one"
    return None


def labels_are_no_start_parameter(resource: Resource) -> str | None:
    for group in groups(resource):
        if "labels" in (group.get("rayStartParams") or {}):
            return f"{_name(group)}: rayStartParams.labels is refused; use the group's field labels"
    return None


def runtime_environment_is_a_mapping(resource: Resource) -> str | None:
    """The text is not repeated, as it may hold what must not be written down."""
    try:
        environment = yaml.safe_load(resource["spec"].get("runtimeEnvYAML", ""))
    except (yaml.YAMLError, ValueError, RecursionError):
        return "spec.runtimeEnvYAML is not valid YAML: mend it"
    if environment is None or isinstance(environment, dict):
        return None
    return "spec.runtimeEnvYAML is no mapping, such as env_vars: {NAME: value}: mend it"


def sidecar_submits_by_itself(resource: Resource) -> str | None:
    spec = resource["spec"]
    if spec.get("submissionMode") != "SidecarMode":
        return None
    for field in ("submitterPodTemplate", "submitterConfig", "clusterSelector"):
        if spec.get(field):
            return f"spec.{field} does not go with submissionMode SidecarMode"
    head = cluster_spec(resource).get("headGroupSpec", {})
    if head.get("template", {}).get("spec", {}).get("restartPolicy", "Never") != "Never":
        return "submissionMode SidecarMode needs restartPolicy: Never in the head's template"
    return None


def retries_make_new_clusters(resource: Resource) -> str | None:
    spec = resource["spec"]
    if resource["kind"] != "RayJob" or not spec.get("backoffLimit"):
        return None
    if spec.get("clusterSelector") or spec.get("submissionMode") == "InteractiveMode":
        return "spec.backoffLimit above 0 does not go with clusterSelector or InteractiveMode"
    return None


def jobs_are_not_upgraded(resource: Resource) -> str | None:
    if resource["kind"] == "RayJob" and "upgradeStrategy" in cluster_spec(resource):
        return "spec.rayClusterSpec.upgradeStrategy is refused in a RayJob"
    return None


def tokens_need_a_recent_ray(resource: Resource) -> str | None:
    spec = cluster_spec(resource)
    version = spec.get("rayVersion")
    if (spec.get("authOptions") or {}).get("mode") != "token":
        return None
    if version and Version(version) >= _LEAST_RAY_FOR_TOKENS:
        return None
    return f"authOptions.mode token needs rayVersion {_LEAST_RAY_FOR_TOKENS} or newer, not {version}"


def no_alpha_fields(resource: Resource) -> str | None:
    for field in ("networkPolicy", "tlsOptions"):
        if field in cluster_spec(resource):
            return f"{field} is behind a feature gate that is off: ship a networking.k8s.io NetworkPolicy or a secret"
    return None


def kueue_can_admit(resource: Resource) -> str | None:
    spec, labels = resource["spec"], resource["metadata"].get("labels", {})
    if KUEUE_LABEL not in labels:
        return None
    if len(worker_groups(resource)) > _MOST_KUEUE_GROUPS:
        return f"Kueue admits {_MOST_KUEUE_GROUPS} worker groups at most, not {len(worker_groups(resource))}"
    if cluster_spec(resource).get("enableInTreeAutoscaling"):
        return "Kueue reserves a fixed number of replicas: leave enableInTreeAutoscaling out"
    if resource["kind"] == "RayJob" and not (spec.get("shutdownAfterJobFinishes") and spec.get("rayClusterSpec")):
        return f"the label {KUEUE_LABEL} needs shutdownAfterJobFinishes: true and a rayClusterSpec"
    if "suspend" in spec:
        return f"with the label {KUEUE_LABEL} Kueue sets spec.suspend: leave it out"
    return None


def _name(group: Resource) -> str:
    return f"worker group {group['groupName']!r}" if "groupName" in group else "the head group"


RULES: tuple[Callable[[Resource], str | None], ...] = (
    name_is_a_short_dns_label,
    submission_mode_is_known,
    jobs_have_a_cluster,
    jobs_reach_the_dashboard,
    submitters_end,
    worker_groups_have_names_of_their_own,
    finished_jobs_shut_down,
    replicas_have_bounds,
    resources_are_said_once,
    labels_are_no_start_parameter,
    runtime_environment_is_a_mapping,
    sidecar_submits_by_itself,
    retries_make_new_clusters,
    jobs_are_not_upgraded,
    tokens_need_a_recent_ray,
    no_alpha_fields,
    kueue_can_admit,
)

"""One deliberately broken manifest for each of the operator's rules, which breaks that rule alone."""

from __future__ import annotations

import copy

import pytest

from pepo_rlhf.checks.manifests.operator_rules import KUEUE_LABEL, RULES


def group(name=None):
    found = {"rayStartParams": {}, "template": {"spec": {"containers": [{"name": "ray"}]}}}
    return found | ({"groupName": name, "replicas": 1, "minReplicas": 1, "maxReplicas": 1} if name else {})


def job():
    cluster = {"rayVersion": "2.55.0", "headGroupSpec": group(), "workerGroupSpecs": [group("gpu")]}
    return {
        "kind": "RayJob",
        "metadata": {"name": "train", "labels": {KUEUE_LABEL: "queue"}},
        "spec": {
            "backoffLimit": 2,
            "ttlSecondsAfterFinished": 60,
            "shutdownAfterJobFinishes": True,
            "rayClusterSpec": cluster,
        },
    }


def cluster(**spec):
    return {"kind": "RayCluster", "metadata": {"name": "train"}, "spec": job()["spec"]["rayClusterSpec"] | spec}


NO_KUEUE = {"metadata": {"labels": {}}}
NO_TTL = {"spec": {"ttlSecondsAfterFinished": 0}}
NO_RETRY = {"spec": {"backoffLimit": 0}}


def head(change):
    return {"spec": {"rayClusterSpec": {"headGroupSpec": change}}}


def head_starts(**parameters):
    return head({"rayStartParams": {name.replace("_", "-"): value for name, value in parameters.items()}})


def head_ports(*ports):
    container = {"name": "ray", "ports": [{"name": name, "containerPort": number} for name, number in ports]}
    return head({"template": {"spec": {"containers": [container]}}})


# rule, changes to the job above (merged; lists and None replace), a word of the message
BROKEN = [
    ("name_is_a_short_dns_label", [{"metadata": {"name": "t" * 48}}], "at most 47"),
    ("name_is_a_short_dns_label", [{"metadata": {"name": "1train"}}], "begin with a letter"),
    ("name_is_a_short_dns_label", [{"metadata": {"name": "My_Job"}}], "a-z"),
    ("submission_mode_is_known", [{"spec": {"submissionMode": "K8JobMode"}}], "K8sJobMode"),
    ("jobs_have_a_cluster", [NO_KUEUE, {"spec": {"rayClusterSpec": {}}}], "clusterSelector"),
    ("finished_jobs_shut_down", [NO_KUEUE, {"spec": {"shutdownAfterJobFinishes": False}}], "ttlSecondsAfterFinished"),
    (
        "finished_jobs_shut_down",
        [NO_KUEUE, NO_TTL, {"spec": {"suspend": True, "shutdownAfterJobFinishes": False}}],
        "spec.suspend",
    ),
    (
        "jobs_have_a_cluster",
        [NO_KUEUE, NO_RETRY, {"spec": {"rayClusterSpec": {}, "clusterSelector": {"cluster": "x"}}}],
        "names no cluster",
    ),
    ("jobs_reach_the_dashboard", [head_starts(dashboard_host="127.0.0.1")], "dashboard-host at 0.0.0.0"),
    ("jobs_reach_the_dashboard", [head_starts(include_dashboard="false")], "include-dashboard out"),
    ("jobs_reach_the_dashboard", [head_ports(("gcs", 6379))], "one called dashboard, which is 8265"),
    ("jobs_reach_the_dashboard", [head_ports(("dashboard", 8266))], "one called dashboard, which is 8265"),
    ("submitters_end", [{"spec": {"submitterPodTemplate": {"spec": {"restartPolicy": "Always"}}}}], "write Never"),
    (
        "worker_groups_have_names_of_their_own",
        [{"spec": {"rayClusterSpec": {"workerGroupSpecs": [group("gpu"), group("gpu")]}}}],
        "two worker groups are called 'gpu'",
    ),
    (
        "sidecar_submits_by_itself",
        [{"spec": {"submissionMode": "SidecarMode"}}, head({"template": {"spec": {"restartPolicy": "Always"}}})],
        "restartPolicy",
    ),
    (
        "sidecar_submits_by_itself",
        [{"spec": {"submissionMode": "SidecarMode", "submitterConfig": {"backoffLimit": 1}}}],
        "submitterConfig",
    ),
    ("runtime_environment_is_a_mapping", [{"spec": {"runtimeEnvYAML": "env_vars: {"}}], "not valid YAML"),
    ("runtime_environment_is_a_mapping", [{"spec": {"runtimeEnvYAML": "- pip"}}], "no mapping"),
    ("retries_make_new_clusters", [{"spec": {"submissionMode": "InteractiveMode"}}], "backoffLimit"),
    ("retries_make_new_clusters", [{"spec": {"clusterSelector": {"ray.io/cluster": "other"}}}], "clusterSelector"),
    ("jobs_are_not_upgraded", [{"spec": {"rayClusterSpec": {"upgradeStrategy": {"type": "Recreate"}}}}], "upgrade"),
    (
        "tokens_need_a_recent_ray",
        [{"spec": {"rayClusterSpec": {"rayVersion": "2.51.2", "authOptions": {"mode": "token"}}}}],
        "2.52",
    ),
    ("no_alpha_fields", [{"spec": {"rayClusterSpec": {"networkPolicy": {"mode": "DenyAll"}}}}], "NetworkPolicy"),
    ("no_alpha_fields", [{"spec": {"rayClusterSpec": {"tlsOptions": {"enabled": True}}}}], "tlsOptions"),
    ("kueue_can_admit", [{"spec": {"rayClusterSpec": {"enableInTreeAutoscaling": True}}}], "Autoscaling"),
    ("kueue_can_admit", [NO_TTL, {"spec": {"shutdownAfterJobFinishes": False}}], "shutdownAfterJobFinishes"),
    ("kueue_can_admit", [{"spec": {"suspend": True}}], "spec.suspend"),
    (
        "kueue_can_admit",
        [{"spec": {"rayClusterSpec": {"workerGroupSpecs": [group(f"g{index}") for index in range(18)]}}}],
        "17 worker groups",
    ),
    (
        "replicas_have_bounds",
        [{"spec": {"rayClusterSpec": {"workerGroupSpecs": [{"groupName": "gpu", "replicas": 1, "minReplicas": 1}]}}}],
        "maxReplicas",
    ),
    (
        "replicas_have_bounds",
        [{"spec": {"rayClusterSpec": {"workerGroupSpecs": [group("gpu") | {"minReplicas": 2}]}}}],
        "not above",
    ),
    (
        "resources_are_said_once",
        [
            {
                "spec": {
                    "rayClusterSpec": {
                        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "resources": {"CPU": "0"}}
                    }
                }
            }
        ],
        "num-cpus",
    ),
    (
        "labels_are_no_start_parameter",
        [{"spec": {"rayClusterSpec": {"headGroupSpec": {"rayStartParams": {"labels": "a=b"}}}}}],
        "labels",
    ),
]


def merge(resource, change):
    for key, value in change.items():
        if isinstance(value, dict) and value and isinstance(resource.get(key), dict):
            merge(resource[key], value)
        else:
            resource[key] = value


def broken_rules(resource):
    return {rule.__name__: problem for rule in RULES if (problem := rule(resource))}


def test_the_job_and_the_cluster_keep_every_rule():
    assert broken_rules(job()) == broken_rules(cluster()) == {}


@pytest.mark.parametrize(("rule", "changes", "word"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_a_broken_rule_is_found_and_no_other(rule, changes, word):
    resource = copy.deepcopy(job())
    for change in changes:
        merge(resource, change)
    found = broken_rules(resource)
    assert list(found) == [rule]
    assert word in found[rule] and "\n" not in found[rule]


def test_every_rule_has_a_broken_manifest():
    assert {rule for rule, _, _ in BROKEN} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(
    "change",
    [
        head_ports(("dashboard", 8265)),
        head_starts(dashboard_host="0.0.0.0"),
        {"spec": {"submissionMode": "SidecarMode"}},  # the operator sets the restartPolicy that is absent
    ],
)
def test_what_the_operator_takes_is_left_alone(change):
    resource = job()
    merge(resource, change)
    assert broken_rules(resource) == {}


def test_another_port_of_the_dashboard_goes_with_its_flag():
    resource = job()
    merge(resource, head_starts(dashboard_port="8266"))
    merge(resource, head_ports(("dashboard", 8266)))
    assert broken_rules(resource) == {}


def test_a_cluster_may_have_a_longer_name_and_be_upgraded():
    resource = cluster(upgradeStrategy={"type": "Recreate"})
    resource["metadata"]["name"] = "c" * 53
    assert broken_rules(resource) == {}
    resource["metadata"]["name"] += "c"
    assert list(broken_rules(resource)) == ["name_is_a_short_dns_label"]

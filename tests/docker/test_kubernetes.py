"""The manifests of docs/kubernetes.md fit together, and into the images and settings of docker/."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docker" / "kubernetes"
RAY = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())
VALUES = yaml.safe_load((FOLDER / "dagster-values.yaml").read_text())
CLAIM, POLICY = yaml.safe_load_all((FOLDER / "storage.yaml").read_text())
INSTANCE = yaml.safe_load((ROOT / "docker/dagster.yaml").read_text())
PAGE = (ROOT / "docs/kubernetes.md").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
HEAD = RAY["spec"]["headGroupSpec"]
WORKERS = {group["groupName"]: group for group in RAY["spec"]["workerGroupSpecs"]}
GROUPS = {"head": HEAD, **WORKERS}


def pod(name):
    return GROUPS[name]["template"]["spec"]


def container(name):
    (found,) = pod(name)["containers"]
    return found


def environment(name):
    return {entry["name"]: entry.get("value") for entry in container(name)["env"]}


def test_the_kinds_are_those_that_the_page_applies():
    assert (RAY["apiVersion"], RAY["kind"]) == ("ray.io/v1", "RayCluster")
    assert (CLAIM["apiVersion"], CLAIM["kind"]) == ("v1", "PersistentVolumeClaim")
    assert (POLICY["apiVersion"], POLICY["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    assert all(f"docker/kubernetes/{path.name}" in PAGE for path in FOLDER.iterdir())


def test_ray_is_the_version_of_the_lock():
    (locked,) = re.findall(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert RAY["spec"]["rayVersion"] == locked


@pytest.mark.parametrize("name", GROUPS)
def test_an_image_is_one_that_the_page_builds_at_this_version(name):
    image = container(name)["image"].removeprefix("registry.example.com/")
    assert image.endswith(f":{VERSION}")
    assert f"registry.example.com/{image}" in PAGE
    assert f"registry.example.com/codeft/server:{VERSION}" in PAGE
    for service in ("dagsterWebserver", "dagsterDaemon"):
        assert VALUES[service]["image"]["repository"] == "registry.example.com/codeft/server"
        assert VALUES[service]["image"]["tag"] == VERSION


@pytest.mark.parametrize("name", GROUPS)
def test_a_container_has_no_privileges_and_bounded_memory(name):
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["securityContext"]["runAsUser"] == 10001
    assert container(name)["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    resources = container(name)["resources"]
    assert resources["limits"]["memory"]
    assert {"cpu", "memory"} <= resources["requests"].keys()


@pytest.mark.parametrize("name", GROUPS)
def test_what_is_mounted_is_there(name):
    volumes = {volume["name"] for volume in pod(name)["volumes"]}
    assert {mount["name"] for mount in container(name)["volumeMounts"]} == volumes


def test_the_head_runs_no_units_and_one_group_has_the_gpus():
    assert HEAD["rayStartParams"]["num-cpus"] == "0"
    with_gpu = [name for name in GROUPS if "nvidia.com/gpu" in container(name)["resources"]["limits"]]
    assert with_gpu == ["gpus"]
    for name in WORKERS:  # Ray fills a node with one unit a CPU
        assert int(WORKERS[name]["rayStartParams"]["num-cpus"]) <= int(container(name)["resources"]["requests"]["cpu"])


def test_every_node_has_the_same_data_root_and_keys():
    roots = {environment(name)["CODEFT_HOME"] for name in GROUPS}
    assert len(roots) == 1
    assert "://" in roots.pop()
    assert {str(container(name)["envFrom"]) for name in GROUPS} == {"[{'secretRef': {'name': 'codeft-keys'}}]"}
    assert "secret generic codeft-keys" in PAGE


def test_ray_asks_for_a_token_and_only_dagster_reaches_the_code_server():
    assert RAY["spec"]["authOptions"] == {"mode": "token"}
    inside, dagster = POLICY["spec"]["ingress"]
    assert POLICY["spec"]["podSelector"]["matchLabels"] == RAY["metadata"]["labels"]
    assert all(
        RAY["metadata"]["labels"].items() <= GROUPS[name]["template"]["metadata"]["labels"].items() for name in GROUPS
    )
    assert "ports" not in inside
    assert [port["port"] for port in dagster["ports"]] == [4000]


def test_dagster_finds_the_code_server_and_the_runs_are_its_processes():
    (server,) = VALUES["dagsterWebserver"]["workspace"]["servers"]
    assert server == {"name": "codeft", "host": f"{RAY['metadata']['name']}-head-svc", "port": 4000}
    assert "--port 4000" in container("head")["args"][0]
    assert environment("head")["CODEFT_EXECUTOR"] == "ray"
    assert VALUES["runLauncher"]["config"]["customRunLauncher"]["class"] == "DefaultRunLauncher"
    assert VALUES["dagster-user-deployments"]["enabled"] is False


def test_the_instance_of_the_chart_is_mounted_in_the_head_with_its_password():
    volumes = {volume["name"]: volume for volume in pod("head")["volumes"]}
    assert volumes["instance"]["configMap"]["name"] == "dagster-instance"
    (password,) = [entry for entry in container("head")["env"] if entry["name"] == "DAGSTER_PG_PASSWORD"]
    assert password["valueFrom"]["secretKeyRef"]["name"] == VALUES["global"]["postgresqlSecretName"]
    assert f"secret generic {VALUES['global']['postgresqlSecretName']}" in PAGE
    assert "helm install dagster " in PAGE  # the release's name begins those of its objects


def test_logs_are_on_the_claim_that_all_mount():
    config = VALUES["computeLogManager"]["config"]["customComputeLogManager"]
    assert config["module"] == INSTANCE["compute_logs"]["module"]
    claims = [*VALUES["dagsterWebserver"]["volumes"], *pod("head")["volumes"]]
    names = {volume["persistentVolumeClaim"]["claimName"] for volume in claims if "persistentVolumeClaim" in volume}
    assert names == {CLAIM["metadata"]["name"]}
    mounts = [*VALUES["dagsterWebserver"]["volumeMounts"], *container("head")["volumeMounts"]]
    assert [mount["mountPath"] for mount in mounts if mount["name"] == "logs"] == [config["config"]["base_dir"]] * 2


def test_the_chart_has_the_settings_of_the_containers():
    daemon = VALUES["dagsterDaemon"]
    queued = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queued["maxConcurrentRuns"] == INSTANCE["concurrency"]["runs"]["max_concurrent_runs"]
    assert daemon["runMonitoring"]["startTimeoutSeconds"] == INSTANCE["run_monitoring"]["start_timeout_seconds"]
    assert daemon["runRetries"]["maxRetries"] == INSTANCE["run_retries"]["max_retries"]
    assert VALUES["telemetry"] == INSTANCE["telemetry"]
    days = INSTANCE["retention"]["sensor"]["purge_after_days"]
    assert VALUES["retention"]["sensor"]["purgeAfterDays"].items() >= days.items()
    assert VALUES["postgresql"]["postgresqlScheme"] == INSTANCE["storage"]["postgres"]["postgres_db"]["scheme"]

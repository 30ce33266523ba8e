"""The images, as far as no engine is needed: linted, valid, non-root, pinned, health-checked, without secrets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
STAGES = {part.split("\n")[0].split(" AS ")[1]: part for part in DOCKERFILE.split("\nFROM ")[1:]}
IMAGES = ("server", "data", "train", "eval")


def tool(*command):
    return subprocess.run([*command], capture_output=True, text=True, cwd=ROOT, check=False)


def entrypoint(tmp_path, **environment):
    command = [str(DOCKER / "entrypoint.sh"), sys.executable, "-c", "import os; print(os.environ['HF_TOKEN'])"]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment | {"PATH": "/usr/bin:/bin"}, check=False
    )


def test_the_dockerfile_has_no_lint():
    done = tool(str(Path(sys.executable).parent / "hadolint"), "docker/Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_obeys_the_compose_specification():
    check = str(Path(sys.executable).parent / "check-jsonschema")
    done = tool(check, "--builtin-schema", "vendor.compose-spec", "docker/compose.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_non_root_and_says_whether_it_is_healthy(name):
    stage = STAGES[name]
    assert re.search(r"^USER 10001$", stage, re.MULTILINE)
    assert "HEALTHCHECK" in stage


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_no_build_tools_but_what_was_built(name):
    assert "pip install" not in STAGES[name]
    assert f"COPY --from=build-{name} /opt/venv /opt/venv" in STAGES[name]


def test_base_images_are_pinned_to_a_release():
    pinned = [*re.findall(r"^ARG PYTHON_IMAGE=(.+)$", DOCKERFILE, re.MULTILINE), SERVICES["postgres"]["image"]]
    assert all(re.search(r":\d+\.\d+(\.\d+)?-", image) for image in pinned), pinned
    assert {line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM ")} <= {
        "${PYTHON_IMAGE}", "build", "build-data", "runtime", "code"
    }  # fmt: skip


def test_what_an_image_installs_is_pinned():
    installs = re.findall(r"pip install [^&\n]*", DOCKERFILE)
    assert installs
    assert "PIP_CONSTRAINT=/src/constraints.txt" in DOCKERFILE


@pytest.mark.parametrize("name", ["server", "data", "torch", "train", "eval"])
def test_an_images_dependencies_are_those_of_pyproject(name):
    done = tool(sys.executable, "docker/requirements.py", name)
    lines = done.stdout.split("\n")
    text = (ROOT / "pyproject.toml").read_text()
    assert done.returncode == 0
    assert all(f'"{line}"' in text for line in lines if line)
    assert ("torch" in done.stdout) == (name in {"torch", "train", "eval"})


def test_only_the_loopback_interface_is_published():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_read_only_web_ui_is_read_only():
    assert "--read-only" in SERVICES["webserver-readonly"]["command"]


@pytest.mark.parametrize("name", OURS)
def test_a_container_of_ours_has_no_privileges(name):
    service = OURS[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert all("docker.sock" not in volume for volume in service["volumes"])


def test_what_scores_alone_reaches_no_network_and_writes_on_the_volume_only():
    service = SERVICES["evaluate"]
    assert service["network_mode"] == "none"
    assert service["read_only"] is True
    assert "environment" not in service


def test_the_gpu_worker_is_asked_for():
    assert SERVICES["gpu-worker"]["profiles"] == ["gpu"]
    (device,) = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_the_password_stands_in_no_file_of_ours():
    for path in DOCKER.iterdir():
        for line in path.read_text().splitlines() if path.is_file() else ():
            value = re.search(r"PASSWORD\w*[=:]\s*(\S+)", line)
            assert value is None or value[1].startswith(("/run/secrets", "-./secrets", "{env")), f"{path.name}: {line}"


def test_every_variable_that_the_instance_reads_is_given_by_compose():
    named = set(
        re.findall(r"{env: (\w+)}", (DOCKER / "dagster.yaml").read_text() + (DOCKER / "workspace.yaml").read_text())
    )
    for service in ("code-server", "webserver", "webserver-readonly", "daemon", "gpu-worker"):
        given = {name.removesuffix("_FILE") for name in SERVICES[service]["environment"]}
        assert named <= given, service


def test_a_secret_is_read_from_a_file(tmp_path):
    (tmp_path / "token").write_text("hf_secret\n")
    done = entrypoint(tmp_path, HF_TOKEN_FILE=str(tmp_path / "token"))
    assert done.stdout == "hf_secret\n"


def test_a_secret_given_in_the_environment_stays(tmp_path):
    assert entrypoint(tmp_path, HF_TOKEN="from the environment").stdout == "from the environment\n"


def test_a_missing_secret_says_what_to_do(tmp_path):
    done = entrypoint(tmp_path, HF_TOKEN_FILE=str(tmp_path / "missing"))
    assert done.returncode == 78
    assert "mount the secret or unset HF_TOKEN_FILE" in done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_neither_fills_the_disk_with_its_log_nor_takes_all_memory_unasked(name):
    assert SERVICES[name]["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert SERVICES[name]["mem_limit"]


def test_what_pip_would_install_is_taken_from_the_lock_with_its_hashes():
    wanted = {"install": [{"metadata": {"name": name}} for name in ("Dagster_Postgres", "torch", "six")]}
    done = subprocess.run(
        [sys.executable, "docker/locked.py"],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    names = re.findall(r"^(\S+)==", done.stdout, re.MULTILINE)
    assert names == ["dagster-postgres", "six"]  # torch is in no lock: it comes from the index of the machine
    entries = done.stdout.strip().split("\n")
    assert all("--hash=sha256:" in line for line in entries if not line.endswith(" \\") or line.startswith(" "))
    assert len(entries) > len(names)


def test_everything_but_torch_is_installed_by_its_hash():
    script = (DOCKER / "install.sh").read_text()
    assert "pip install --require-hashes --no-deps --requirement locked.txt" in script
    (unhashed,) = set(re.findall(r"pip install [^&\n]*", DOCKERFILE))
    assert "--requirement torch.txt" in unhashed
    assert DOCKERFILE.count("pip check") == 4


@pytest.mark.parametrize("name", ["ray-head", "ray-worker"])
def test_the_nodes_of_the_cluster_are_one_image_with_one_token(name):
    service = SERVICES[name]
    assert service["profiles"] == ["cluster"]
    assert service["image"] == SERVICES["ray-head"]["image"]
    assert service["build"]["args"]["EXTRAS"] == "cluster"
    assert "ray_token" in service["secrets"]
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert service["volumes"] == SERVICES["code-server"]["volumes"]
    assert "ports" not in service


def test_the_head_runs_no_units():
    assert "--num-cpus 0" in SERVICES["ray-head"]["command"][-1]
    assert SERVICES["ray-worker"]["deploy"]["replicas"] == 2

"""deploy/kubernetes and deploy/systemd name what the relay has, and give it enough time and memory."""

import configparser
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import typer
import yaml

from relay import cli, node
from relay.configuration.config import Config
from relay.observe.probe_server import Page, Probes
from relay.process import supervisor
from relay.server.websocket_connection import PING_SECONDS

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
INGRESS = ROOT / "deploy" / "kubernetes-ingress"
SYSTEMD = ROOT / "deploy" / "systemd"
PAGE = (ROOT / "docs" / "operations.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()

# An old release of Kubernetes, and the newest one of kubernetes-validate 1.36.
RELEASES: Final = ("1.33", "1.36")
# These are the figures of docs/operations.md, "Sizing".
USER_KIB: Final = 6
PYTHON_MIB: Final = 64
SPARE_FILES: Final = 30
UNITS: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def manifest(name: str, folder: Path = KUBERNETES) -> Any:
    return yaml.safe_load((folder / f"{name}.yaml").read_text())


def pod() -> Any:
    return manifest("deployment")["spec"]["template"]["spec"]


def container() -> Any:
    (only,) = pod()["containers"]
    return only


def variables() -> set[str]:
    """Return the environment variables that `relay node` reads."""
    command = typer.main.get_command(cli.app).commands["node"]  # type: ignore[attr-defined]
    return {str(parameter.envvar) for parameter in command.params if parameter.envvar}


def settings(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return the Config that `relay node` makes of these variables."""
    told: list[Config] = []

    def take(config: Config, _serve: object, *, node: str) -> int:
        told.append(config)
        return 0

    for key in [key for key in os.environ if key.startswith("RELAY_")]:
        monkeypatch.delenv(key)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(cli, "_until_told", take)  # private: else the node would run
    assert cli.run(["node"]) == 0
    return told[0]


def needed_bytes(config: Config) -> int:
    return (config.memory + PYTHON_MIB) * 2**20 + config.max_connections * USER_KIB * 2**10


class TestKubernetes:
    @pytest.fixture
    def config(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
        """Return the Config of a pod, with the values that Kubernetes fills in."""
        (tmp_path / "password").write_text("s3cret\n")
        environment = {}
        for variable in container()["env"]:
            match variable.get("valueFrom"):
                case None:
                    environment[variable["name"]] = variable["value"]
                case {"fieldRef": {"fieldPath": "metadata.name"}}:
                    environment[variable["name"]] = "relay-5d4f9c7b9d-x2x7p"
                case {"secretKeyRef": {"name": "relay-redis", "key": "url"}}:
                    environment[variable["name"]] = "redis://relay@redis:6379/0"
        assert environment["RELAY_REDIS_PASSWORD_FILE"] == self.password_file()
        return settings(environment | {"RELAY_REDIS_PASSWORD_FILE": str(tmp_path / "password")}, monkeypatch)

    @staticmethod
    def password_file() -> str:
        """Return the file into which the Secret puts the password."""
        (volume,), (mount,) = pod()["volumes"], container()["volumeMounts"]
        (item,) = volume["secret"]["items"]
        assert mount["name"] == volume["name"]
        return f"{mount['mountPath']}/{item['path']}"

    @pytest.mark.parametrize("name", ["deployment", "service", "disruption"])
    @pytest.mark.parametrize("release", RELEASES)
    def test_each_manifest_fits_the_schema(self, name: str, release: str) -> None:
        kubernetes_validate.validate(manifest(name), release, strict=True)

    def test_every_manifest_is_applied(self) -> None:
        told = manifest("kustomization")
        assert {KUBERNETES / name for name in told["resources"]} == {
            path for path in KUBERNETES.glob("*.yaml") if path.stem != "kustomization"
        }
        assert [image["name"] for image in told["images"]] == [container()["image"]]

    def test_every_variable_is_one_that_a_node_reads(self) -> None:
        assert {variable["name"] for variable in container()["env"]} <= variables()

    def test_a_node_starts_with_the_deployment(self, config: Config) -> None:
        assert container()["args"] == ["node"]
        assert 'ENTRYPOINT ["relay"]' in DOCKERFILE
        assert config.name == "relay-5d4f9c7b9d-x2x7p"
        assert config.redis == "redis://relay@redis:6379/0"
        assert config.redis_password_file is not None
        assert config.redis_password_file.read_text() == "s3cret\n"
        assert config.host == "0.0.0.0"

    def test_a_service_can_not_set_an_option(self) -> None:
        """Kubernetes sets RELAY_PORT to a URL in each pod beside a Service called relay."""
        taken = f"{manifest('service')['metadata']['name'].upper()}_PORT"
        assert taken in variables()
        assert pod()["enableServiceLinks"] is False

    def test_ports_are_those_of_the_node(self, config: Config) -> None:
        ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
        assert ports == {"chat": config.port, "http": config.http_port}
        (port,) = manifest("service")["spec"]["ports"]
        assert (port["port"], port["targetPort"]) == (config.port, "chat")
        annotations = manifest("deployment")["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/port"] == str(config.http_port)

    @pytest.mark.anyio
    @pytest.mark.parametrize(
        ("probe", "busy"), [("livenessProbe", b"200"), ("startupProbe", b"200"), ("readinessProbe", b"404")]
    )
    async def test_probes_ask_for_what_there_is(self, probe: str, busy: bytes) -> None:
        """A node that takes no new clients isn't ready, and must not be restarted for that."""

        async def no_page(_accept: str) -> Page:
            raise AssertionError

        get = container()[probe]["httpGet"]
        assert get["port"] == "http"
        request = f"GET {get['path']} HTTP/1.1\r\n\r\n".encode()
        ready, unready = (Probes(why_not, no_page).at_once(request) for why_not in (str, lambda: "no lease"))
        assert (ready or b"").split()[1] == b"200"
        assert (unready or b"").split()[1] == busy

    def test_there_is_time_to_drain(self, config: Config) -> None:
        *command, pause = container()["lifecycle"]["preStop"]["exec"]["command"]
        assert command == ["sleep"]
        assert pod()["terminationGracePeriodSeconds"] > float(pause) + config.drain + node.STOP_SECONDS

    def test_there_is_memory_enough(self, config: Config) -> None:
        resources = container()["resources"]
        number, unit = re.fullmatch(r"(\d+)(\w+)", resources["limits"]["memory"]).groups()  # type: ignore[union-attr]
        assert int(number) * UNITS[unit] >= needed_bytes(config)
        assert "cpu" not in resources["limits"]

    def test_a_node_has_no_more_rights_than_it_needs(self) -> None:
        user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
        assert user is not None
        outer, inner = pod()["securityContext"], container()["securityContext"]
        assert outer["runAsNonRoot"] is True
        assert (outer["runAsUser"], outer["runAsGroup"]) == (int(user[1]), int(user[2]))
        assert outer["fsGroup"] == outer["runAsGroup"]
        assert pod()["volumes"][0]["secret"]["defaultMode"] == 0o440, "root's, readable by fsGroup"
        assert inner["readOnlyRootFilesystem"] is True
        assert inner["allowPrivilegeEscalation"] is False
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert pod()["automountServiceAccountToken"] is False

    def test_everything_means_the_same_pods(self) -> None:
        deployment = manifest("deployment")["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        assert deployment["selector"]["matchLabels"] == labels
        assert manifest("service")["spec"]["selector"] == labels
        assert manifest("disruption")["spec"]["selector"]["matchLabels"] == labels
        (spread,) = pod()["topologySpreadConstraints"]
        assert spread["labelSelector"]["matchLabels"] == labels

    def test_a_drained_machine_leaves_nodes_to_go_to(self) -> None:
        assert manifest("deployment")["spec"]["replicas"] > manifest("disruption")["spec"]["maxUnavailable"]
        assert manifest("deployment")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0

    def test_the_page_makes_the_secret_that_is_asked_for(self) -> None:
        made = re.search(r"kubectl create secret generic (\S+) ([^`]*?)\n```", PAGE)
        assert made is not None
        assert made[1] == pod()["volumes"][0]["secret"]["secretName"]
        assert set(re.findall(r"--from-(?:literal|file)=(\w+)=", made[2])) == {"url", "password"}


class TestIngress:
    """deploy/kubernetes-ingress: what kustomize makes of the manifests, and an Ingress before them."""

    @staticmethod
    def patched(kind: str) -> Any:
        """The manifest of this kind as kustomize patches it."""
        (found,) = [one for one in map(manifest, ("deployment", "service")) if one["kind"] == kind]
        for patch in manifest("kustomization", INGRESS)["patches"]:
            if patch["target"] == {"kind": kind, "name": found["metadata"]["name"]}:
                for step in yaml.safe_load(patch["patch"]):
                    TestIngress.change(found, step)
        return found

    @staticmethod
    def change(found: Any, step: dict[str, Any]) -> None:
        """Do one step of a JSON patch (RFC 6902)."""
        *way, last = step["path"].removeprefix("/").split("/")
        for key in way:
            found = found[int(key)] if isinstance(found, list) else found[key]
        match step["op"]:
            case "add":
                assert last == "-"
                found.append(step["value"])
            case "replace":
                assert last in found
                found[last] = step["value"]
            case "remove":
                del found[last]
            case other:
                raise AssertionError(other)

    @pytest.fixture
    def annotations(self) -> dict[str, str]:
        return dict(manifest("ingress", INGRESS)["metadata"]["annotations"])

    @pytest.mark.parametrize("release", RELEASES)
    def test_the_ingress_and_its_patches_fit_the_schema(self, release: str) -> None:
        kubernetes_validate.validate(manifest("ingress", INGRESS), release, strict=True)
        for kind in ("Deployment", "Service"):
            kubernetes_validate.validate(self.patched(kind), release, strict=True)

    def test_every_file_of_the_ingress_is_applied(self) -> None:
        told = manifest("kustomization", INGRESS)
        assert {(INGRESS / name).resolve() for name in told["resources"]} == {KUBERNETES, INGRESS / "ingress.yaml"}
        assert {path.name for path in INGRESS.iterdir()} == {"ingress.yaml", "kustomization.yaml"}
        assert [patch["target"]["kind"] for patch in told["patches"]] == ["Service", "Deployment"]

    def test_the_ingress_leads_to_the_nodes(self) -> None:
        spec = manifest("ingress", INGRESS)["spec"]
        (rule,), (tls,) = spec["rules"], spec["tls"]
        assert tls["hosts"] == [rule["host"]]
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/", "Prefix")
        service = self.patched("Service")
        assert path["backend"]["service"]["name"] == service["metadata"]["name"]
        assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]

    def test_a_service_behind_the_ingress_is_not_open_to_all(self) -> None:
        spec = self.patched("Service")["spec"]
        assert spec["type"] == "ClusterIP"
        assert "externalTrafficPolicy" not in spec, "Kubernetes refuses it there"

    def test_nodes_serve_the_page_and_believe_the_controller(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (only,) = self.patched("Deployment")["spec"]["template"]["spec"]["containers"]
        assert {variable["name"] for variable in only["env"]} <= variables()
        told = {variable["name"]: variable.get("value", "") for variable in only["env"]}
        added = {name: value for name, value in told.items() if name in ("RELAY_PAGE", "RELAY_TRUSTED_PROXY")}
        config = settings(added, monkeypatch)
        assert config.page
        assert list(config.trusted_proxy) == ["10.0.0.0/8"]

    @pytest.mark.parametrize("name", ["proxy-read-timeout", "proxy-send-timeout"])
    @pytest.mark.parametrize("controller", ["nginx.ingress.kubernetes.io", "nginx.org"])
    def test_a_silence_is_shorter_than_every_time_out(
        self, controller: str, name: str, annotations: dict[str, str]
    ) -> None:
        assert float(annotations[f"{controller}/{name}"].removesuffix("s")) > 2 * PING_SECONDS

    def test_a_balancer_waits_longer_than_a_silence_lasts_and_for_the_drain(self, annotations: dict[str, str]) -> None:
        idle, drain = (
            annotations[f"alb.ingress.kubernetes.io/{name}-attributes"] for name in ("load-balancer", "target-group")
        )
        assert int(idle.removeprefix("idle_timeout.timeout_seconds=")) > 2 * PING_SECONDS
        environment = {variable["name"]: variable.get("value", "") for variable in container()["env"]}
        *_, pause = container()["lifecycle"]["preStop"]["exec"]["command"]
        told = float(drain.removeprefix("deregistration_delay.timeout_seconds="))
        assert told >= float(environment["RELAY_DRAIN"]) + float(pause)

    def test_a_balancer_asks_whether_a_node_is_ready(self, annotations: dict[str, str]) -> None:
        get = container()["readinessProbe"]["httpGet"]
        ports = {port["name"]: str(port["containerPort"]) for port in container()["ports"]}
        assert annotations["alb.ingress.kubernetes.io/healthcheck-path"] == get["path"]
        assert annotations["alb.ingress.kubernetes.io/healthcheck-port"] == ports[get["port"]]

    def test_the_ingress_tells_the_host_and_needs_no_stickiness(self, annotations: dict[str, str]) -> None:
        """Any node resumes any session, so an affinity would only send clients back to a node that drains."""
        assert not [name for name in annotations if "affinity" in name or "sticky" in name or "upstream-vhost" in name]

    def test_the_page_names_the_ingress_and_every_controller(self, annotations: dict[str, str]) -> None:
        assert "deploy/kubernetes-ingress" in PAGE
        assert {name.partition("/")[0] for name in annotations} == set(re.findall(r"`([\w.]+)/…`", PAGE))


class TestSystemd:
    @pytest.fixture
    def service(self) -> dict[str, str]:
        """Return the section of the unit. If a key occurs twice, the last one counts."""
        unit = configparser.ConfigParser(strict=False, interpolation=None, comment_prefixes=("#",))
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read(SYSTEMD / "relay.service")
        assert unit["Install"]["WantedBy"] == "multi-user.target"
        return dict(unit["Service"])

    @staticmethod
    def environment(*, all: bool = False) -> dict[str, str]:
        """Return the variables that the example sets, and with `all` also those that it proposes."""
        found = re.findall(rf"^{'#?' if all else ''}(RELAY_\w+)=(.*)$", (SYSTEMD / "relay.env").read_text(), re.M)
        return dict(found)

    @pytest.fixture
    def config(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
        (tmp_path / "password").write_text("s3cret\n")
        file = {"RELAY_REDIS_PASSWORD_FILE": str(tmp_path / "password")}
        return settings(self.environment() | file, monkeypatch)

    def test_every_variable_is_one_that_a_node_reads(self) -> None:
        assert set(self.environment(all=True)) > set(self.environment())
        assert set(self.environment(all=True)) <= variables()

    def test_a_node_starts_with_the_service(self, service: dict[str, str], config: Config) -> None:
        assert service["ExecStart"].split()[1:] == ["node"]
        assert service["EnvironmentFile"].rpartition("/")[2] == "relay.env"
        assert config.redis == "redis://relay@127.0.0.1:6379/0"
        assert config.redis_password_file is not None
        assert config.host == "127.0.0.1", "not open to all before there is TLS"

    def test_there_is_time_to_drain(self, service: dict[str, str], config: Config) -> None:
        assert float(service["TimeoutStopSec"]) > config.drain + supervisor.STOP_SECONDS

    def test_workers_are_told_once_to_stop(self, service: dict[str, str]) -> None:
        """Their parent tells them. A second signal would end them at once."""
        assert service["KillMode"] == "mixed"
        assert service["KillSignal"] == "SIGTERM"

    def test_a_wrong_setting_is_not_tried_again(self, service: dict[str, str]) -> None:
        assert service["Restart"] == "on-failure"
        assert int(service["RestartPreventExitStatus"]) == cli.USAGE_STATUS

    def test_there_are_files_enough(self, service: dict[str, str], config: Config) -> None:
        assert int(service["LimitNOFILE"]) >= config.max_connections + SPARE_FILES

    def test_there_is_memory_enough(self, service: dict[str, str], config: Config) -> None:
        number, unit = re.fullmatch(r"(\d+)(\w)", service["MemoryMax"]).groups()  # type: ignore[union-attr]
        assert int(number) * UNITS[f"{unit}i"] >= needed_bytes(config)

    def test_a_node_that_waits_for_redis_is_not_given_up(self, service: dict[str, str]) -> None:
        assert (service["Type"], service["TimeoutStartSec"]) == ("notify", "infinity")

    def test_the_user_is_made(self, service: dict[str, str]) -> None:
        kind, name, *_ = shlex.split((SYSTEMD / "relay.sysusers").read_text(), comments=True)
        assert (kind, name) == ("u", service["User"])

    def test_a_reload_needs_no_command_of_a_package(self, service: dict[str, str]) -> None:
        """A minimal system has no command `kill`."""
        words = [word.replace("$$", "$") for word in shlex.split(service["ExecReload"])]
        with subprocess.Popen(["sleep", "60"]) as process:
            try:
                environment = {"MAINPID": str(process.pid), "PATH": "/nonexistent"}
                assert subprocess.run(words, env=environment, check=False).returncode == 0
                assert process.wait(10) == -signal.SIGHUP
            finally:
                process.kill()

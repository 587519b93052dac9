"""What stands in ``deploy/`` names what there is."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import yaml

from selfedit._version import __version__
from selfedit.cli.app import app
from selfedit.config import read_settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [one for group in groups for one in group["template"]["spec"]["containers"]]


def test_the_job_on_kubernetes_runs_a_recipe_of_ours() -> None:
    job = yaml.safe_load((ROOT / "deploy" / "kuberay.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[0] == "selfedit" and app[words[1]]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    recipe = ROOT / Path(options.pop("--recipe")).relative_to("/opt/selfedit")
    assert options.pop("--out").startswith("/work/")
    settings = read_settings(recipe, {name[2:]: value for name, value in options.items()})
    assert settings.engine.kind == "ray" and settings.workers == "auto"
    cluster = job["spec"]["rayClusterSpec"]
    pinned = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    assert pinned is not None and cluster["rayVersion"] == pinned[1]
    # The run's folder is on a volume that every pod has, and no pod has code of its own.
    for container in containers(cluster):
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/work"]
        assert container["image"].partition(":")[0] == "selfedit"
        assert container["resources"]["requests"] == container["resources"]["limits"]


def test_the_image_is_made_of_what_is_here() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    for name, rest in steps:
        if name == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
    installs = [rest for name, rest in steps if name == "RUN" and "pip install" in rest]
    extras = re.findall(r'"\.\[([\w,]+)\]"', " ".join(installs))
    assert extras and set(extras[0].split(",")) <= PROJECT["optional-dependencies"].keys()
    assert "ray" in extras[0].split(",") and "constraints.txt" in installs[0]
    python = next(rest for name, rest in steps if name == "ARG").removeprefix("PYTHON=")
    assert f">={python.split('.')[0]}" in PROJECT["requires-python"] and __version__
    # Nobody is root in it: its last user owns only the volume.
    assert [rest for name, rest in steps if name == "USER"][-1] == "selfedit"

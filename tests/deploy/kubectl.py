"""A kubectl with a cluster that is a file: it keeps what is applied, and says what that changes.

`python kubectl.py FOLDER ARGUMENT...`, run as `kubectl` by `deploy.sh`. What needs no cluster is done by the real one;
what is run in a pod is run here, with the pod's settings from `FOLDER/pod.json`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def main(folder: Path, *arguments: str) -> int:
    """Run one command, with or without `-n NAMESPACE`; return its exit status."""
    if arguments[0] == "-n":
        arguments = arguments[2:]
    path = folder / "cluster.json"
    cluster = json.loads(path.read_text()) if path.exists() else {}
    match arguments:
        case ("kustomize" | "create", *_) if arguments[1] != "namespace":
            return subprocess.run([ROOT / ".venv-tools/bin/kubectl", *arguments], check=False).returncode
        case ("exec", "deployment/vergeos-mcp-worker", "--", command, *rest):
            environment = {**os.environ, **json.loads((folder / "pod.json").read_text())}
            return subprocess.run([ROOT / ".venv/bin" / command, *rest], env=environment, check=False).returncode
        case ("get", kind, name, *rest):
            return get(cluster, kind, name, *rest)
        case ("rollout", "status", name, "--timeout=180s"):
            return 0 if name in cluster else 1
        case ("create", "namespace", name):
            apply(cluster, [{"kind": "Namespace", "metadata": {"name": name}}])
        case ("apply", "-f", source):
            apply(cluster, yaml.load_all(sys.stdin if source == "-" else Path(source).read_text(), yaml.CSafeLoader))
        case _:
            return 2
    path.write_text(json.dumps(cluster))
    return 0


def get(cluster: dict[str, Any], kind: str, name: str, *rest: str) -> int:
    """Write the member that `-o jsonpath={.data.NAME}` names."""
    found = cluster.get(f"{kind}/{name}")
    if found and rest:
        sys.stdout.write(found["data"].get(rest[-1].removeprefix("jsonpath={.data.").removesuffix("}"), ""))
    return 0 if found or "--ignore-not-found" in rest else 1


def apply(cluster: dict[str, Any], documents: Any) -> None:
    """Keep each document; write a line about each."""
    for it in documents:
        name = f"{it['kind'].lower()}/{it['metadata']['name']}"
        before = cluster.get(name)
        change = "unchanged" if before == it else "created" if before is None else "configured"
        sys.stdout.write(f"{name} {change}\n")
        cluster[name] = it


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))

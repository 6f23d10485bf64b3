"""Where each program is; it is installed or built, once, where it can be.

Nothing needs Docker. What is built stays in a folder of its own outside the repository, by version.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MANIFEST = Path(__file__).parents[3] / "collector-config" / "builder.yaml"
# Absolute, as programs are started in folders of their own.
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "llm-cache-otel"
)
JAEGER_MODULE = "github.com/jaegertracing/jaeger"
JAEGER_VERSION = "v1.76.0"
"""Of the module. The program of this tag is Jaeger v2; Go refuses tags that begin with v2 here."""

_POLICY = Path("/usr/sbin/policy-rc.d")
_GO = "Install Go 1.25 or newer (https://go.dev/dl/)"


class Missing(Exception):
    """A program cannot be had; says which, why, and how to get it."""


def collector() -> Path:
    """Built of `collector-config/builder.yaml`, unless `OTELCOL` names one, such as `otelcol-contrib`."""
    manifest = MANIFEST.read_text()
    version = _found(r"version: (\S+)", manifest)
    parts = "\n".join(re.findall(r"gomod: (.*)", manifest))
    digest = hashlib.sha256(parts.encode()).hexdigest()[:8]
    return _given("OTELCOL") or _built(
        CACHE / f"otelcol-{version}-{digest}" / "otelcol",
        "the OpenTelemetry Collector",
        "name an otelcol-contrib of that version in OTELCOL",
        lambda part: _build_collector(version, manifest, part),
    )


def jaeger() -> Path:
    """`JAEGER`, or the first on the path, or one built here, whose user interface is a placeholder."""
    return (
        _given("JAEGER")
        or _on_path("jaeger")
        or _built(
            CACHE / f"jaeger-{JAEGER_VERSION}" / "jaeger",
            "Jaeger",
            "name a Jaeger v2 in JAEGER",
            _build_jaeger,
        )
    )


def prometheus() -> Path:
    return _packaged("prometheus", "prometheus")


def promtool() -> Path:
    return _packaged("prometheus", "promtool")


def alertmanager() -> Path:
    return _packaged("prometheus-alertmanager", "prometheus-alertmanager", "alertmanager")


def redis() -> Path:
    return _packaged("redis-server", "redis-server")


EVERY: dict[str, Callable[[], Path]] = {
    "the OpenTelemetry Collector": collector,
    "Jaeger": jaeger,
    "Prometheus": prometheus,
    "promtool": promtool,
    "Alertmanager": alertmanager,
    "Redis": redis,
}


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, pattern
    return found[1]


def _given(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    program = shutil.which(value)
    if program is None:
        raise Missing(f"{variable} is {value}, which is no program. Unset it, or correct it.")
    return Path(program).absolute()


def _on_path(*names: str) -> Path | None:
    # Debian keeps some where only root looks.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    return Path(found).absolute() if found else None


def _built(program: Path, name: str, otherwise: str, build: Callable[[Path], None]) -> Path:
    """What `build` has made whole: it writes beside, for what writes it may be ended, or the disk be full."""
    if _is_program(program):
        return program
    if shutil.which("go") is None:
        raise Missing(f"{name} is built with Go, which is not here. {_GO}, or {otherwise}.")
    print(f"Building {name}, once; this takes minutes …", file=sys.stderr)
    part = program.with_name(f"{program.name}.part")
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        build(part)
        if not _is_program(part):
            raise Missing(f"{name} was built, but is no program. Look at {part}, or {otherwise}.")
        part.replace(program)
    except OSError as error:
        raise Missing(
            f"{name} can't be built in {program.parent}: {error}\n"
            f"Name a folder that can be written to in XDG_CACHE_HOME, or {otherwise}."
        ) from error
    except subprocess.CalledProcessError as error:
        why = (error.stderr or "").strip()[-2000:]
        raise Missing(
            f"{name} can't be built: {' '.join(map(str, error.cmd))} says\n{why}\n"
            f"It takes Go 1.25 or newer and its module proxy (GOPROXY). Or {otherwise}."
        ) from error
    return program


def _is_program(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)


def _build_collector(version: str, manifest: str, program: Path) -> None:
    directory = program.parent
    source = directory / "source"
    own = re.sub(r"output_path: .*", f"output_path: {source}", manifest)
    (directory / "builder.yaml").write_text(own)
    builder = f"go.opentelemetry.io/collector/cmd/builder@v{version}"
    _go("run", builder, f"--config={directory / 'builder.yaml'}", into=directory)
    (source / "otelcol").rename(program)
    shutil.rmtree(source)


def _build_jaeger(program: Path) -> None:
    """In a copy of its source, for `go install` takes no module that replaces others, as this one does."""
    directory = program.parent
    module = f"{JAEGER_MODULE}@{JAEGER_VERSION}"
    found = json.loads(_go("mod", "download", "-json", module, into=directory))
    source = directory / "source"
    # Without its modes: what Go keeps is not to be written to, and the copy has to be removed again.
    shutil.copytree(found["Dir"], source, copy_function=shutil.copyfile, dirs_exist_ok=True)
    subprocess.run(["chmod", "-R", "u+w", source], check=True)
    _go("build", "-o", str(program), "./cmd/jaeger", into=source)
    shutil.rmtree(source)


def _go(*arguments: str, into: Path) -> str:
    """What it writes to stdout."""
    # On a machine that others use too: two at a time, and whoever else comes first.
    flags = f"{os.environ.get('GOFLAGS', '')} -p=2 -buildvcs=false"
    command = ["nice", "-n", "10", "go", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "GOFLAGS": flags.strip()},
        cwd=into,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def _packaged(package: str, *names: str) -> Path:
    found = _on_path(*names)
    if found is None:
        _install(package, names[0])
        found = _on_path(*names)
    if found is None:
        raise Missing(f"The package {package} has no {names[0]}. Put one on the PATH.")
    return found


def _install(package: str, name: str) -> None:
    by_hand = f"apt-get install --no-install-recommends {package}"
    if shutil.which("apt-get") is None:
        raise Missing(
            f"{name} is not on the PATH, and there is no apt-get here. Put one on the PATH."
        )
    if os.geteuid() != 0:
        raise Missing(f"{name} is not on the PATH. As root: {by_hand}")
    print(f"Installing {package} …", file=sys.stderr)
    # Debian starts a package's daemon at once, unless this says no.
    own_policy = not _POLICY.exists()
    if own_policy:
        _POLICY.write_text("#!/bin/sh\nexit 101\n")
        _POLICY.chmod(0o755)
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        for step in ("update", f"install -y --no-install-recommends {package}"):
            subprocess.run(
                ["apt-get", "-qq", *step.split()],
                env=variables,
                check=True,
                capture_output=True,
                text=True,
            )
    except subprocess.CalledProcessError as error:
        raise Missing(f"{name} can't be installed: {by_hand} says\n{error.stderr}") from error
    finally:
        if own_policy:
            _POLICY.unlink()

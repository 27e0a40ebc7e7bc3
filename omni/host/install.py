"""Getting a plugin onto this machine, and off it: pip for the work, the manifest first.

The manifest is read from the folder or the wheel before anything of the plugin runs, so what is asked of the
person is known in time. A plugin goes into Omni's environment, where pip may change nothing that is there
already, or into an environment of its own, where it can bring an older numpy.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omni import __version__
from omni.errors import BadInput, ManifestError, OmniError, PluginError
from omni.host.discovery import Found, plugin_folders
from omni.host.manifest import FILE_NAME, Manifest, api_refusal, parse_manifest, read_manifest

#: What the kernel needs in a plugin's own environment, by distribution name.
KERNEL_NEEDS = ("msgspec", "numpy", "packaging", "pluggy", "psutil", "pydantic")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that may be installed: what pip is given, and its manifest."""

    requirement: str
    manifest: Manifest


def run_pip(python: Path | str, *arguments: str, remedy: str = "", say: Say = lambda text: None) -> str:
    """Run pip and `say` what it fetches. Raises `PluginError` with the last thing it said, and the `remedy`."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            if line.startswith(("Collecting ", "Processing ")):
                name = Path(line.split()[1]).name
                say(f"fetching {name.split('-')[0] if name.endswith('.whl') else name}")
            elif line.startswith("Installing collected packages:"):
                number = line.count(",") + 1
                say(f"installing {number} package{'' if number == 1 else 's'}")
    if pip.returncode:
        lines = [line.strip() for line in lines if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        said = "; ".join(line.removeprefix("ERROR: ").rstrip(".") for line in errors[:3])
        remedy = remedy or "`omni plugin install ... --isolated` avoids conflicts."
        raise PluginError(f"pip could not do it: {said or f'exit status {pip.returncode}'}.", remedy)
    return "".join(lines)


def look_at(target: str, scratch: Path) -> Candidate:
    """The manifest of what `target` names: a folder, a wheel, the URL of a wheel, or a name on the package index.

    Nothing of the plugin is run: a name is downloaded as a wheel into `scratch` and opened as a zip.
    """
    path = Path(target).expanduser()
    if path.is_dir():
        folders = plugin_folders(path)
        if len(folders) != 1:
            held = f"{len(folders)} plugins" if folders else "no plugin"
            raise ManifestError(f"{path} holds {held}.", f"Name a folder with one {FILE_NAME}.")
        project = folders[0].parent if (folders[0].parent / "pyproject.toml").is_file() else path
        if not (project / "pyproject.toml").is_file():
            raise BadInput(f"{path} has no pyproject.toml.", f"`omni run --plugin {path}` runs it from source.")
        return Candidate(str(project.resolve()), read_manifest(folders[0]))
    if path.suffix == ".whl" and path.is_file():
        return Candidate(str(path.resolve()), manifest_of_wheel(path))
    if target.startswith("git+"):
        raise BadInput(
            f"What {target} asks for can't be known before its code runs.", "Clone it and install the folder."
        )
    if "://" not in target and (os.sep in target or path.suffix == ".whl"):
        raise BadInput(f"There is no folder and no wheel {target}.", "Look at the path.")
    run_pip(
        sys.executable, "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", str(scratch), target,
        remedy="Look at the name: a package index has to have a wheel of it. A folder or a wheel can be named too.",
    )  # fmt: skip
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise PluginError(f"{target} gave {len(wheels)} wheels.", "Name one plugin.")
    return Candidate(str(wheels[0]), manifest_of_wheel(wheels[0]))


def manifest_of_wheel(wheel: Path) -> Manifest:
    """The manifest in a wheel. Raises `ManifestError` when it is no wheel or holds no plugin."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith(f"/{FILE_NAME}")]
            if len(names) != 1:
                held = f"{len(names)} plugins" if names else "no plugin"
                raise ManifestError(f"{wheel.name} holds {held}.", "It is not an Omni plugin.")
            text = archive.read(names[0]).decode("utf-8")
    except (zipfile.BadZipFile, UnicodeDecodeError, OSError) as error:
        raise ManifestError(f"{wheel.name} is not a wheel: {error}.", "Download it again.") from None
    return parse_manifest(text, f"{wheel.name}/{names[0]}")


def check_candidate(candidate: Candidate, installed: Sequence[Found]) -> None:
    """Raise when this Omni can't run it, or another plugin has its id."""
    if refusal := api_refusal(candidate.manifest):
        raise PluginError(refusal)
    for found in installed:
        if found.id == candidate.manifest.id and found.source == "folder":
            raise PluginError(f"A plugin {found.id!r} is run from the folder {found.folder}.", "Leave one of them out.")


def install_here(candidate: Candidate, say: Say) -> None:
    """Install into Omni's own environment; nothing that is there may change its version."""
    say(f"installing {candidate.manifest.id} into Omni's environment")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        own = {"omni-assistant", candidate.manifest.id, candidate.manifest.id.replace("_", "-")}
        pinned = {
            f"{dist.metadata['Name']}=={dist.version}"
            for dist in importlib.metadata.distributions()
            if dist.metadata["Name"]
            and not dist.metadata["Name"].startswith("omni-")
            and dist.metadata["Name"] not in own
        }
        constraints.write_text("\n".join(sorted(pinned)), encoding="utf-8")
        run_pip(sys.executable, "install", "--upgrade", "-c", str(constraints), candidate.requirement, say=say)


def environment_of(data_dir: Path, plugin: str) -> Path:
    """The folder of a plugin's own virtual environment."""
    return data_dir / "environments" / plugin


def install_apart(candidate: Candidate, data_dir: Path, say: Say) -> Path:
    """Install into a virtual environment of its own. Returns its folder; on failure nothing is left of it."""
    folder = environment_of(data_dir, candidate.manifest.id)
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    try:
        say(f"making an environment in {folder}")
        subprocess.run([sys.executable, "-m", "venv", str(fresh)], check=True, capture_output=True, text=True)
        python = fresh / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        site = Path(
            subprocess.run(
                [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
        )
        put_kernel(site)
        wanted = candidate.manifest.environment.requirements if candidate.manifest.environment else ()
        say(f"installing {candidate.manifest.id} and what it needs")
        run_pip(python, "install", *KERNEL_NEEDS, *wanted, candidate.requirement, say=say)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        said = error.stderr.strip().splitlines()[-1:] or [str(error)]
        raise PluginError(
            f"An environment can't be made: {said[0]}.", "Debian: apt-get install python3-venv."
        ) from None
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def put_kernel(site: Path) -> None:
    """Make `import omni` work in an environment without the host's other packages coming along.

    A folder that holds a link to the kernel alone is put on the path, and metadata say that `omni-assistant`
    is there, which plugins depend on.
    """
    import omni

    kernel = site / "omni_kernel"
    kernel.mkdir(parents=True)
    package = Path(omni.__file__).parent
    try:
        (kernel / "omni").symlink_to(package, target_is_directory=True)
    except OSError:  # Windows without the right to make links
        shutil.copytree(package, kernel / "omni")
    (site / "omni_kernel.pth").write_text("omni_kernel\n")  # relative to the folder it lies in
    metadata = site / f"omni_assistant-{__version__}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: omni-assistant\nVersion: {__version__}\n")
    (metadata / "RECORD").write_text("")
    (metadata / "INSTALLER").write_text("omni\n")


def remove(found: Found, data_dir: Path, say: Say) -> None:
    """Take a plugin away. Its data folder stays. Raises `PluginError` for one that runs from a folder."""
    if found.source == "folder":
        raise PluginError(f"{found.id!r} runs from the folder {found.folder}.", "Leave its --plugin out.")
    if found.source == "environment":
        say(f"removing the environment of {found.id}")
        shutil.rmtree(environment_of(data_dir, found.id), ignore_errors=True)
        return
    if not found.distribution:
        raise OmniError(f"It can't be told which package {found.id!r} came in.", "Remove it with pip.")
    say(f"uninstalling {found.distribution}")
    run_pip(sys.executable, "uninstall", "--quiet", "--yes", found.distribution)

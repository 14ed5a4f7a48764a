"""What a user installs holds everything that they need, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "trailseal": ROOT / "src" / "wrapper" / "trailseal",
    "trailseal_api": ROOT / "generated" / "trailseal_api",
    "trailseal_server": ROOT / "src" / "server" / "trailseal_server",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_file_of_the_three_packages(names: set[str]) -> None:
    """No module, marker, template or record is left out by an ignore rule."""
    for package, folder in PACKAGES.items():
        files = (path for path in folder.rglob("*") if path.is_file())
        wanted = {
            f"{package}/{path.relative_to(folder)}"
            for path in files
            if "__pycache__" not in path.parts
        }
        assert wanted <= names, sorted(wanted - names)
        assert f"{package}/py.typed" in names


def test_the_wheel_holds_the_contract_and_nothing_foreign(names: set[str]) -> None:
    """The server finds its spec; tests, tools and caches stay at home."""
    assert "trailseal_server/openapi.yaml" in names
    assert {name.partition("/")[0] for name in names} == {
        *PACKAGES,
        *(name.partition("/")[0] for name in names if ".dist-info/" in name),
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]

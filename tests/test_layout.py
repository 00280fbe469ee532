"""The layout's promises: front doors that nothing imports through, one-way imports, imports without side effects."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("distill", "export", "quantize", "runtimes", "harness")
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "tests").rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_front_door_leads_to_the_room(room: str):
    door = ROOT / room
    assert door.is_symlink()
    assert door.resolve() == (ROOT / "src" / "edgestep" / room).resolve()


def test_nothing_imports_through_a_front_door():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert not {name.split(".")[0] for name in names} & set(ROOMS), path


def test_the_device_side_imports_without_torch():
    """Parity and latency run where torch is not installed: make its import fail, then import all of the device side."""
    code = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'onnx', 'openvino', 'nncf', 'coremltools', 'jinja2'):\n"
        "    sys.modules[name] = None\n"
        "import edgestep.cli, edgestep.harness.parity.check, edgestep.harness.latency.measure\n"
        "import edgestep.runtimes.drawing, edgestep.runtimes.tokenizer\n"
        "import edgestep.harness.reference.bundle, edgestep.harness.results\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_imports_run_one_way():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_machine_path_and_no_registry_host_in_the_sources():
    hosts = ("py" + "pi.org", "python" + "hosted", "npm" + "js.", "deb." + "debian")
    for path in [*SOURCES, *ROOT.glob("*.md"), *ROOT.glob("*.toml"), ROOT / "Makefile", ROOT / ".ci" / "run"]:
        text = path.read_text()
        assert not [host for host in hosts if host in text], path


def test_a_report_without_jinja2_says_what_to_install(tmp_path: Path):
    code = (
        "import sys\n"
        "sys.modules['jinja2'] = sys.modules['markupsafe'] = None\n"
        "from pathlib import Path\n"
        "from edgestep.artifact import BadInput\n"
        "from edgestep.harness.machine import machine_here\n"
        "from edgestep.harness.reporting.report import write_report\n"
        "from edgestep.harness.results import Results\n"
        "try:\n"
        "    write_report(Results(machine_here(), {}), Path(sys.argv[1]))\n"
        "except BadInput as error:\n"
        "    sys.exit(0 if 'pip install' in str(error) else 1)\n"
        "sys.exit(2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "r.html")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []

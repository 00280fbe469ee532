"""Drawing must not need what a phone or a plain install does not have."""

import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "onnx", "openvino", "nncf", "coremltools", "matplotlib")
MODULES = ("runtimes.registry", "runtimes.drawing", "runtimes.tokenizer", "runtimes.picture", "quantize.run")


def test_importing_the_rooms_imports_nothing_heavy():
    lines = [f"import edgestep.{module}" for module in MODULES]
    code = "; ".join([*lines, "import sys", f"print([m for m in {HEAVY!r} if m in sys.modules])"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

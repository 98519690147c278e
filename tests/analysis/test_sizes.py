import subprocess
import sys

import pytest

from degrade import nets
from degrade.analysis.sizes import KNOWN, count
from degrade.spec import NetSpec
from degrade.spec.parts import SHORTCUTS

PICTURES = [(3, 10, 32), (1, 10, 8), (3, 100, 33), (2, 7, 5)]


@pytest.mark.parametrize("net", KNOWN)
def test_arithmetic_counts_what_the_net_itself_has(net):
    for shortcut in SHORTCUTS[net]:
        for depth, width in ((8, 16), (20, 3), (32, 5)):
            spec = NetSpec(net=net, shortcut=shortcut, depth=depth, width=width)
            for channels, classes, size in PICTURES:
                pictures = {"channels": channels, "classes": classes, "size": size}
                assert count(spec, **pictures) == nets.cost(spec, **pictures), (spec, pictures)


def test_the_command_counts_without_torch():
    code = "import sys; from degrade import cli; sys.argv = ['degrade', 'nets', 'depth=20,56,110']\n"
    code += "try: cli.main()\nexcept SystemExit: pass\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "1,730,714" in done.stdout

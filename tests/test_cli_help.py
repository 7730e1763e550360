"""Help, usage errors and defaults are shown at once."""

from __future__ import annotations

import subprocess
import sys


def test_an_unknown_option_is_a_usage_error_without_traceback(capsys, spikefit):
    assert spikefit("deploy", "--modell", "x") == 2
    assert "Traceback" not in capsys.readouterr().err


def test_check_prints_every_default(capsys, spikefit):
    assert spikefit("check") == 0
    shown = capsys.readouterr().out
    for key in ("n_samples: 100", "damping: 0.01", "sparsity: 0.9", "bits: 4", "lava_time_limit_s"):
        assert key in shown


def test_help_starts_fast_and_without_heavy_imports():
    script = (
        "import sys\nfrom pipeline.cli import main\nsys.argv = ['spikefit', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'lava', 'numba', 'scipy', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)

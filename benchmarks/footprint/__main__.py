"""``make bench-footprint``: memory, cores, synops and energy over sparsity and bits; resumable.

``.venv/bin/python benchmarks/footprint [--models a,b] [--workers N] [--short] [--no-run]
[--out FOLDER]``. Networks are compressed from the layer bank by the sweep's own machinery, each
placed in the format that takes each core least memory, in the best but for shared kernels, and as
dense matrices. Written are ``footprint.csv``, ``footprint.md`` and ``footprint.svg``; what was
computed under the same code is not computed again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from figure import figure
from grid import MODELS, points_of
from writing import as_csv, as_markdown

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "footprint"
_INTERRUPTED = 130


def main() -> int:
    """Compute what is missing and write the results; return the exit code."""
    options = _options()
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    scratch = Path(tempfile.mkdtemp(prefix="bench-footprint-")) if options.short else None
    out, studies = options.out or scratch or RESULTS, scratch or ROOT / "netx_exports"
    try:
        points = list(points_of(options.models, studies, options.workers,
                                is_short=options.short, may_run=not options.no_run))
    except KeyboardInterrupt:
        print("bench-footprint: interrupted; run the same command to continue", file=sys.stderr)
        return _INTERRUPTED
    out.mkdir(parents=True, exist_ok=True)
    texts = {"footprint.csv": as_csv(points), "footprint.md": as_markdown(points),
             "footprint.svg": figure(points)}
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    print(texts["footprint.md"])
    print(f"written to {out}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/footprint", description=__doc__)
    parser.add_argument("--models", type=lambda text: tuple(text.split(",")), default=MODELS,
                        metavar="A,B", help=f"[default: {','.join(MODELS)}]")
    parser.add_argument("--workers", type=int, default=2, help="processes [default: 2]")
    parser.add_argument("--short", action="store_true",
                        help="a few cheap points in a temporary folder: does it work?")
    parser.add_argument("--no-run", action="store_true", help="only write what is stored")
    parser.add_argument("--out", type=Path, help=f"[default: {RESULTS.relative_to(ROOT)}]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

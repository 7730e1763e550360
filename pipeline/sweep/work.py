"""A piece of work of a sweep, done, and what there is to say of it.

In: work that leaves its results in the store. Out: a :class:`Reply`.
"""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pipeline.errors import PipelineError
from pipeline.sweep.claims import try_claim
from pipeline.sweep.results import is_unwritable

if TYPE_CHECKING:
    from pipeline.sweep.trial import Bench


class Work(Protocol):
    """A piece of work."""

    @property
    def key(self) -> str:
        """The key of what it computes."""

    def run(self, bench: Bench) -> None:
        """Compute what is missing and store it."""


@dataclass(frozen=True)
class Reply:
    """What became of a piece of work.

    Attributes
    ----------
    kind : done; busy, another process has it; error, it failed; died, its process is gone;
        unwritable, the store takes no more
    text, trace : of an error
    errno : of an unwritable store
    """

    kind: Literal["done", "busy", "error", "died", "unwritable"]
    text: str = ""
    trace: str = ""
    errno: int = 0
    elapsed_s: float = 0.0


def do(work: Work, bench: Bench) -> Reply:
    """Do a piece of work under its claim."""
    begin = time.perf_counter()
    try:
        with try_claim(bench.store.lock(work.key)) as is_mine:
            if not is_mine:
                return Reply("busy")
            work.run(bench)
    except PipelineError as error:
        return Reply("error", str(error))
    except OSError as error:
        if is_unwritable(error):
            return Reply("unwritable", error.strerror or str(error), errno=error.errno or 0)
        return _defect(error)
    except Exception as error:  # one configuration must not end the others: the border of a process
        return _defect(error)
    return Reply("done", elapsed_s=time.perf_counter() - begin)


def _defect(error: Exception) -> Reply:
    return Reply("error", f"{type(error).__name__}: {error}", traceback.format_exc())

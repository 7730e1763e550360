"""What a process of a cluster does: tells whether it can take part, and works.

In: a :class:`Look` or an :class:`Errand`, pickled. Out: a :class:`Sight` or a reply. Nothing of
dask is here. Both are done *by loading them*: a scheduler passes bytes on and needs no spikefit,
and cannot spoil with an old class what it never loads.
"""

from __future__ import annotations

import os
import platform
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifact import content_hash, source_hash
from pipeline.line import code_version
from pipeline.sweep.claims import claim, try_claim
from pipeline.sweep.results import Store, write_whole
from pipeline.sweep.work import Reply, Work, do
from pipeline.sweep.workers import ONE_THREAD

if TYPE_CHECKING:
    from pipeline.sweep.trial import Study

# other versions of these may round otherwise
_PACKAGES = ("numpy", "torch", "numba")
_own = threading.local()


@dataclass(frozen=True)
class Terms:
    """What driver and worker must agree on.

    Attributes
    ----------
    versions : of :func:`versions_here`
    store : folder of the store, absolute
    data : file or folder of spikes outside this package; None if there is none
    token : name of a file that the driver has just written there; it holds a lock as well
    """

    versions: dict[str, str]
    store: Path
    data: Path | None
    token: str


@dataclass(frozen=True)
class Sight:
    """What a worker sees.

    Attributes
    ----------
    complaint : why it cannot take part; "" if it can
    answer : name of a file it has written for the driver to see
    """

    complaint: str
    answer: str = ""


@dataclass(frozen=True)
class Look:
    """Looks around where it is loaded; what loads is the :class:`Sight`."""

    terms: Terms

    def __reduce__(self) -> tuple[Callable[..., Sight], tuple[Any, ...]]:
        """Pickle the call in place of the object."""
        return look, (self.terms,)


@dataclass(frozen=True)
class Errand:
    """Does its work where it is loaded; what loads is the :class:`Reply`."""

    study: Study
    work: Work

    def __reduce__(self) -> tuple[Callable[..., Reply], tuple[Any, ...]]:
        """Pickle the call in place of the object."""
        return do_errand, (self.study, self.work)


@contextmanager
def meeting(store: Store, data: Path | None) -> Iterator[Terms]:
    """Hold what workers are to find while they look; both directions of the folder are tried."""
    token = uuid.uuid4().hex
    folder = store.folder.absolute()
    with claim(_meeting_lock(store.folder)):
        write_whole(_met(folder) / token, token)
        try:
            yield Terms(versions_here(), folder, data, token)
        finally:
            for path in _met(folder).glob(f"{token}*"):
                path.unlink(missing_ok=True)


def look(terms: Terms) -> Sight:
    """Return what this process sees of what the driver holds."""
    here = versions_here()
    unlike = [name for name, version in terms.versions.items() if here.get(name) != version]
    if unlike:
        name = unlike[0]
        return Sight(
            f"has {name} {here.get(name)}, the driver {terms.versions[name]}; install the same on "
            "every machine and start the workers again")
    if not (_met(terms.store) / terms.token).is_file():
        return Sight(
            f"does not see the study folder {terms.store.parent}; mount it at this path on every "
            "machine, or name a shared folder with OUT= or --out")
    if terms.data is not None and not terms.data.exists():
        return Sight(f"does not see the spikes {terms.data}; mount them at this path on every "
                     "machine")
    answer = f"{terms.token}.{platform.node()}.{os.getpid()}"
    try:
        with try_claim(_meeting_lock(terms.store)) as is_mine:
            if is_mine:
                return Sight(
                    f"got a lock on {terms.store} that the driver holds: locks of its file system "
                    "do not reach from machine to machine; use one with flock (NFS 4; Lustre "
                    "mounted with -o flock)")
        write_whole(_met(terms.store) / answer, "")
    except OSError as error:
        return Sight(f"cannot write the study folder {terms.store.parent} ({error.strerror}); "
                     "mend its permissions there")
    return Sight("", answer)


def do_errand(study: Study, work: Work) -> Reply:
    """Do a piece of work with one thread, on a bench that the calling thread keeps."""
    os.environ.update(ONE_THREAD)  # of libraries that are still to be imported
    from pipeline.compress.threads import one_thread_for_good
    from pipeline.sweep.trial import Bench

    one_thread_for_good()
    if getattr(_own, "study", None) != study:  # a bench is no two threads' at once
        _own.study, _own.bench = study, Bench(study)
    return do(work, _own.bench)


@cache
def versions_here() -> dict[str, str]:
    """Return the versions results depend on; of our code as it was when this process began."""
    own = sorted(Path(__file__).parent.glob("*.py"))
    return {
        "spikefit's code": content_hash(code_version(), source_hash(own))[:12],
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def judged(terms: Terms, answers: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """Return the workers that can take part, and what is wrong with each that cannot.

    Parameters
    ----------
    answers : by worker, its sight or what it raised; one that has gone already is neither
    """
    fit, misfits = [], {}
    for worker, answer in answers.items():
        if isinstance(answer, OSError):
            continue
        if not isinstance(answer, Sight):
            misfits[worker] = misfit(worker, answer)
        elif answer.complaint:
            misfits[worker] = f"worker {worker}: {answer.complaint}"
        elif not answered(terms, answer):
            misfits[worker] = (
                f"worker {worker}: the driver does not see at once what it writes into "
                f"{terms.store.parent}; mount it with lookupcache=positive (NFS)")
        else:
            fit.append(worker)
    return fit, misfits


def misfit(worker: str, error: BaseException) -> str:
    """Return what is said of a worker that cannot load what is ours."""
    first = (str(error).splitlines() or [""])[0]
    return (f"worker {worker}: has no spikefit, or another version of it "
            f"({type(error).__name__}: {first}); install the same on every machine and start the "
            "workers again")


def answered(terms: Terms, sight: Sight) -> bool:
    """Whether this process sees the file that a worker has written."""
    return (_met(terms.store) / sight.answer).is_file()


def _met(store: Path) -> Path:
    return store / "met"


def _meeting_lock(store: Path) -> Path:
    return Store(store).lock("meeting")

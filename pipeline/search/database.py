"""The PostgreSQL that machines share, reached at once or named in an error.

In: its address. Out: Optuna's storage in it, with heartbeats, so that the trial of a worker that
died is given out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from pipeline.errors import ClusterError, MissingExtraError
from pipeline.search.study import quiet

_CONNECT_S, _HEARTBEAT_S, _GRACE_S = 3, 5, 20


def connect(address: str) -> optuna.storages.RDBStorage:
    """Return the storage of studies in a database.

    Raises
    ------
    ClusterError
        If the address is none, or nothing answers there.
    MissingExtraError
        If there is no driver for PostgreSQL.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except ArgumentError:
        raise ClusterError(f"storage '{address}': is no address; give one as in "
                           "postgresql://user@host:5432/name") from None
    if url.get_backend_name() != "postgresql":
        raise ClusterError(
            f"storage '{url.render_as_string()}': {url.get_backend_name()} is not supported; "
            "machines share a PostgreSQL, as in postgresql://user@host:5432/name")
    engine = {"connect_args": {"connect_timeout": _CONNECT_S}, "pool_pre_ping": True}
    try:
        with named_database(address), quiet():
            return optuna.storages.RDBStorage(
                url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False),
                engine_kwargs=engine, heartbeat_interval=_HEARTBEAT_S, grace_period=_GRACE_S,
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback())
    except ImportError as error:
        raise MissingExtraError(f"storage: no driver for PostgreSQL is installed ({error}); pip "
                                "install 'spikefit[cluster]'") from None


@contextmanager
def named_database(address: str) -> Iterator[None]:
    """Turn what a database refuses, or its absence, into an error that names it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
        reason = str(getattr(cause, "orig", cause)).strip().splitlines()[0]
        raise ClusterError(
            f"storage '{make_url(address).render_as_string()}': cannot be used ({reason}); start "
            "the database, or mend address and permissions; then run the same command to continue"
        ) from None

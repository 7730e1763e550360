"""A client of a dask scheduler, or in one sentence why there is none."""

# mypy: allow-untyped-calls
# (distributed declares its types here and there)

from __future__ import annotations

import asyncio
import logging
import warnings

from distributed import Client
from distributed.comm.addressing import parse_address, parse_host_port
from distributed.core import rpc
from distributed.security import Security

from pipeline.errors import ClusterError

CONNECT_S = 3.0


def connected(address: str) -> Client:
    """Return a client of a scheduler that answers; dask itself stays silent."""
    _silence()
    try:
        # by hand first: a Client that fails takes its time and leaves a traceback behind
        kind = asyncio.run(asyncio.wait_for(_kind_of_server(address), CONNECT_S))
        if kind != "Scheduler":
            raise ValueError(f"this is a {kind.lower()}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions, which we compare ourselves
            return Client(address, timeout=CONNECT_S)
    # a server of another kind may have its first words read as a length
    except (OSError, asyncio.TimeoutError, ValueError, TypeError, MemoryError) as error:
        raise ClusterError(
            f"scheduler {address}: no dask scheduler answers ({cause_of(error)}); give the address "
            "that 'dask scheduler' prints, as in SCHEDULER=tcp://host:8786, and see that it runs "
            "and can be reached from here") from None


async def _kind_of_server(address: str) -> str:
    host, port = parse_host_port(parse_address(address)[1])
    # what refuses does so at once: dask would try again until its time is over
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    keys = Security().get_connection_args("client")  # of TLS, as dask's configuration has them
    async with rpc(address, timeout=CONNECT_S, connection_args=keys) as server:
        identity = await server.identity()
    return str(identity["type"])


def _silence() -> None:
    """Keep dask's own messages off the terminal: what matters is told by errors of ours."""
    noisy = ("distributed", "tornado", "asyncio")
    for name in (*noisy, *logging.root.manager.loggerDict):
        if name.split(".")[0] in noisy:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def cause_of(error: BaseException) -> str:
    """Return why nothing answers, in a few words."""
    if isinstance(error, MemoryError):
        return "what is there speaks another language"
    text = getattr(error, "strerror", None) or str(error) or f"silent for {CONNECT_S:.0f} s"
    return str(text).splitlines()[0]

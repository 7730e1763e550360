"""A network from whatever a user names: a model folder, a NetX file, a NIR file.

In: a path or the name of a bundled model. Out: the dense or integer network in it, what reading it
changed, and how it runs: a module by SLAYER's own forward, a file by the emulator, or by Lava.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.emulate import Trace, emulate
from pipeline.errors import DataError, RecipeError
from pipeline.ledger import Ledger
from pipeline.network import Network, Shape
from pipeline.quantize import as_trained

if TYPE_CHECKING:
    from pipeline.model_folder import ModelFolder

Kind = Literal["module", "netx", "nir"]
_DEFAULT_STEPS, _LAVA_LIMIT_S = 100, 600.0


@dataclass(frozen=True)
class NetworkFile:
    """A network and where it comes from.

    Attributes
    ----------
    network : as it is in the file; of a module and of weights that are not integers, rounded to
        SLAYER's 8 bits
    ledger : what reading and rounding changed
    model, module : of a model folder; the module is a torch module
    """

    path: str
    kind: Kind
    network: Network
    ledger: Ledger
    model: ModelFolder | None = None
    module: Any = None

    @property
    def backend(self) -> str:
        """What runs it."""
        return {"module": "SLAYER", "netx": "emulator", "nir": "emulator"}[self.kind]

    def run(self, spikes: NDArray[np.uint8], with_lava: bool = False) -> Trace:
        """Return what the network does; with Lava a NetX file by the stock loader.

        Parameters
        ----------
        spikes : (n, *input_shape, t), in any shape of as many inputs
        """
        spikes = spikes.reshape(len(spikes), *self.network.input_shape, spikes.shape[-1])
        if with_lava:
            from pipeline.lava_backend import run_lava

            net_file = Path(self.path) if self.kind == "netx" else None
            return run_lava(net_file, self.network, spikes, _LAVA_LIMIT_S).trace
        if self.module is not None:
            from pipeline.ingest import slayer

            return slayer.run_module(self.module, self.network, spikes)
        return emulate(self.network, spikes)


def kind_of(name: str) -> Kind:
    """Return what a name or path stands for.

    Raises
    ------
    RecipeError
        If it is a file of another kind.
    """
    path = Path(name)
    suffix = path.suffix.lower()
    if suffix == ".net":
        return "netx"
    if suffix == ".nir":
        return "nir"
    if path.is_file():
        raise RecipeError(
            f"{name}: neither a NetX file (.net), a NIR file (.nir) nor a model folder; name the "
            "folder of a checkpoint, or rename the file if it is one of these"
        )
    return "module"


def read_network(
    name: str, n_steps: int | None = None, input_shape: Shape | None = None
) -> NetworkFile:
    """Return the network of a model folder, a NetX file or a NIR file.

    Parameters
    ----------
    n_steps : of a sample, where the file does not say
    input_shape : where the file does not say

    Raises
    ------
    PipelineError
        With what is wrong with the file.
    """
    kind = kind_of(name)
    if kind == "module":
        from pipeline.model_folder import find_model

        return read_model(find_model(name))
    path = Path(name)
    if not path.is_file():
        raise RecipeError(f"{name}: there is no such file")
    if kind == "netx":
        from pipeline.ingest.netx import read_netx

        network, ledger = read_netx(path, n_steps or _DEFAULT_STEPS, input_shape)
    else:
        from pipeline.ingest.nir_graph import read_nir

        network, ledger = read_nir(path, n_steps)
    if not network.is_integer:
        network, rounded = as_trained(network)
        ledger += rounded
    return NetworkFile(name, kind, network, ledger)


def spikes_for(
    files: list[NetworkFile], n_samples: int, rate: float, seed: int
) -> tuple[NDArray[np.uint8], str]:
    """Return spikes (n, *input_shape, t) that the networks are compared on, and what they are.

    The test split of the first model folder among them; random spikes if there is none.

    Raises
    ------
    DataError
        If the networks take inputs of different sizes.
    """
    sizes = {int(np.prod(file.network.input_shape)) for file in files}
    if len(sizes) > 1:
        raise DataError(
            "the networks take inputs of different sizes: "
            + ", ".join(f"{file.path} {file.network.input_shape}" for file in files))
    for file in files:
        if file.model is not None:
            from models.data.splits import load_split

            data = load_split(file.model.data, "test", file.network.n_steps, n_samples)
            return data.spikes, data.origin
    network = files[0].network
    shape = (n_samples, *network.input_shape, network.n_steps)
    spikes = (np.random.default_rng(seed).random(shape) < rate).astype(np.uint8)
    return spikes, f"random spikes, {rate:.0%} of the inputs at every step, seed {seed}"


def read_model(model: ModelFolder) -> NetworkFile:
    """Return the network of a model folder: of its module, or of the file it names instead."""
    description = model.description
    if not model.is_module:
        read = read_network(
            str(model.network_file), description.n_steps, tuple(description.input_shape))
        network = replace(read.network, name=model.name, n_steps=description.n_steps)
        return replace(read, network=network, model=model)

    from pipeline.ingest import slayer
    from pipeline.ingest.checkpoint import load_module

    module = load_module(model)
    network, ledger = as_trained(slayer.to_network(module, model))
    return NetworkFile(model.name, "module", network, ledger, model, module)

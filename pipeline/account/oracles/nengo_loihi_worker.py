"""Build in nengo-loihi what ``nengo_loihi_bridge`` wrote: ``python nengo_loihi_worker.py FOLDER``.

Stands alone: it runs in whatever Python has ``nengo_loihi``, numpy and scipy. It reads ``job.json``
and ``mapped.npz``, and writes what each block uses to ``used.json``.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np


def main(folder: Path) -> None:
    """Build the network, emulator as target, and ask every block."""
    warnings.simplefilter("ignore")
    import nengo  # type: ignore[import-not-found]
    import nengo_loihi  # type: ignore[import-not-found]
    from nengo_loihi.builder import network as building  # type: ignore[import-not-found]
    from scipy.sparse import csr_matrix

    # it takes every weight to have 8 bits, and would cut or refuse cores that they make too full:
    # blocks stay as they are, and are measured with the widths set below
    building.split_model = lambda model: {
        block: {block: list(range(block.n_neurons))} for block in model.blocks}
    building.validate_model = lambda model: None
    job = json.loads((folder / "job.json").read_text())
    mapped = np.load(folder / "mapped.npz")
    with nengo.Network(seed=0) as net:
        nengo_loihi.add_params(net)
        ensembles = [
            nengo.Ensemble(
                n, 1, neuron_type=nengo_loihi.neurons.LoihiSpikingRectifiedLinear(),
                gain=np.ones(n), bias=np.zeros(n), label=f"block{at}")
            for at, n in enumerate(job["sizes"])
        ]
        for n, wire in enumerate(job["wires"]):
            where = (mapped[f"target{n}"], mapped[f"source{n}"])
            matrix = csr_matrix((mapped[f"weight{n}"].astype(float), where), shape=wire["shape"])
            pre = ensembles[wire["pre"]].neurons[mapped[f"pre{n}"].tolist()]
            transform = (
                matrix.toarray() if wire["is_dense"]
                else nengo.Sparse(tuple(wire["shape"]), init=matrix))
            nengo.Connection(pre, ensembles[wire["post"]].neurons, transform=transform,
                             synapse=None, label=f"wire{n}")
    with nengo_loihi.Simulator(net, target="sim", progress_bar=False) as sim:
        blocks = {block.label: block for block in sim.model.blocks}
        used = []
        for at, ensemble in enumerate(ensembles):
            block = blocks[str(ensemble)]
            _narrow(block, {w["bits"] for w in job["wires"] if w["post"] == at})
            used.append(_used(block))
    (folder / "used.json").write_text(json.dumps(used))


def _used(block: object) -> "list[list[int]]":
    """Return used and limit of compartments, input axons, output axons and synapse bits.

    Of output axons, those that lead somewhere: a connection from some neurons of a block has one
    for each of its neurons until nengo-loihi's splitter, which is off here, drops the others.
    """
    rows = block.utilization()  # type: ignore[attr-defined]
    rows["out-axons"] = (
        sum(int((axon.compartment_map >= 0).sum()) * axon.slots_per_axon
            for axon in block.axons),  # type: ignore[attr-defined]
        rows["out-axons"][1])
    return [[int(n) for n in rows[name]]
            for name in ("compartments", "in-axons", "out-axons", "synapses")]


def _narrow(block: object, bits: "set[int]") -> None:
    """Store weights as narrow as the network's; nengo-loihi itself always takes 8 bits."""
    for synapse in block.synapses:  # type: ignore[attr-defined]
        widths = synapse.synapse_cfg.WEIGHT_BITS_MAP
        (width,) = bits  # one synapse group a core, or groups of the same width
        synapse.format(weight_bits=next(i for i, b in enumerate(widths) if b >= width))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

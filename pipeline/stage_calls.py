"""What each stage of the line does, in one call: from the values it needs to its artifact.

:mod:`pipeline.stages` says what each depends on. torch, lava and numba take seconds to import: each
stage imports what it needs when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.context import Context
from pipeline.errors import CalibrationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.data.splits import SpikeSet
    from pipeline.deployment import Integers
    from pipeline.emulate import Trace
    from pipeline.model_folder import ModelFolder
    from pipeline.recipe import Recipe

_N_EXECUTED = 100  # validation samples that executed losses are measured on


def run_ingest(context: Context) -> Any:
    """Return the network of the model, and what was changed in reading it."""
    from pipeline.deployment import Ingested
    from pipeline.network_file import read_model

    read = read_model(context.model)
    return Ingested(read.network, read.ledger)


def run_calibrate(context: Context) -> Any:
    """Return curvatures and rates of the calibration split."""
    from pipeline.artifact import require_space
    from pipeline.calibrate import calibrate, curvature_bytes
    from pipeline.compress.threads import one_torch_thread
    from pipeline.kept_parts import KeptParts

    data, settings = calibration_split(context.model, context.recipe), context.recipe.calibration
    parts, network = context.parts("calibrate"), context.value("ingest").network
    require_space(parts.parent, curvature_bytes(network, data.spikes), "curvatures")
    if not data.spikes.any():
        raise CalibrationError(
            f"calibration: {len(data.spikes)} samples without a single spike ({data.origin})"
        )
    with one_torch_thread():
        return calibrate(
            network, data.spikes, data.origin, context.progress,
            objective=settings.curvature, damping_frac=settings.damping,
            device=context.recipe.compress.device, kept=KeptParts(parts))


def run_compress(context: Context) -> Any:
    """Return every group at its level."""
    from pipeline.compress.threads import one_torch_thread
    from pipeline.compressor import compress_network
    from pipeline.kept_parts import KeptParts

    with one_torch_thread():
        return compress_network(
            context.value("ingest").network, context.value("calibrate"), context.recipe,
            calibration_split(context.model, context.recipe).spikes, context.progress,
            kept=KeptParts(context.parts("compress")))


def run_quantize(context: Context) -> Any:
    """Return the integer network."""
    from pipeline.assemble import assemble

    return assemble(
        context.value("ingest").network, context.value("compress"), context.value("calibrate"),
        calibration_split(context.model, context.recipe).spikes,
        context.recipe.compress.match_rates)


def run_place(context: Context) -> Any:
    """Return cores and chips."""
    from pipeline.mapping.placed import placed

    return placed(
        context.value("quantize").network, context.target, context.recipe.place,
        calibration_split(context.model, context.recipe).spikes)


def run_export(context: Context) -> Any:
    """Return what of network.net and network.nir was written, and why not."""
    from pipeline.deployment import Exported
    from pipeline.export_netx import write_netx
    from pipeline.export_nir import nir_obstacle, write_nir
    from pipeline.netx_entries import netx_obstacle

    network = context.value("quantize").network
    path = context.out / "network.net"
    obstacle = netx_obstacle(network)
    origin = f"spikefit, from model {context.model.name}"
    nir_path, no_nir = context.out / "network.nir", nir_obstacle(network)
    if no_nir is None:
        write_nir(network, nir_path, origin)
    else:
        nir_path.unlink(missing_ok=True)
    if obstacle is None:
        write_netx(network, path, origin)
    else:
        path.unlink(missing_ok=True)  # of another network
    bits = {synapse.name: synapse.weight_bits or 0 for synapse in network.synapses}
    return Exported(path.stat().st_size if obstacle is None else 0, bits, obstacle, no_nir)


def run_emulate(context: Context) -> Any:
    """Return accuracies, dense and compressed, and executed losses."""
    from pipeline.deployment import Evaluation
    from pipeline.distance import executed_losses
    from pipeline.emulate import accuracy

    dense, network = context.value("ingest").network, context.value("quantize").network
    evaluate = context.recipe.evaluate
    accuracies = {}
    for split, n_samples in (("validation", evaluate.n_validation), ("test", evaluate.n_test)):
        context.progress(split)
        data = model_split(context.model, split, n_samples)
        accuracies[split] = (
            accuracy(dense, data.spikes, data.labels),
            accuracy(network, data.spikes, data.labels),
        )
    context.progress("loss of each layer")
    losses = executed_losses(
        context.value("quantize").full, dense,
        model_split(context.model, "validation", min(_N_EXECUTED, evaluate.n_validation)).spikes)
    return Evaluation(
        accuracies["validation"], accuracies["test"], evaluate.n_validation, evaluate.n_test,
        data.origin, losses,
    )


def run_lava(context: Context) -> Any:
    """Return what Lava made of some test samples."""
    from pipeline.lava_backend import run_lava

    data = model_split(context.model, "test", context.recipe.verify.n_samples)
    is_stock = context.value("export").obstacle is None
    return run_lava(
        context.out / "network.net" if is_stock else None, context.value("quantize").network,
        data.spikes, context.recipe.verify.lava_time_limit_s, bias_from="first_input",
        with_states=context.value("quantize").network.readout.quantity == "voltage",
        on_progress=context.progress,
    )


def run_compare(context: Context) -> Any:
    """Return that emulator, Lava and SLAYER agree."""
    from pipeline.compare import compare_traces, require_equal
    from pipeline.deployment import Verification
    from pipeline.emulate import emulate

    integers = context.value("quantize")
    network = integers.network
    data = model_split(context.model, "test", context.recipe.verify.n_samples)
    emulated = emulate(
        network, data.spikes, with_states=network.readout.quantity == "voltage")
    comparisons = [
        compare_traces(network, emulated, "emulator", context.value("lava").trace, "Lava")]
    if context.model.is_module:
        comparisons.append(compare_traces(
            network, emulated, "emulator", _slayer_trace(context, integers, data.spikes),
            "SLAYER with the compressed weights"))
    for comparison in comparisons:
        require_equal(comparison)
    return Verification(tuple(comparisons))


def _slayer_trace(context: Context, integers: Integers, spikes: NDArray[np.uint8]) -> Trace:
    """Return what the user's module does with the compressed weights, having saved them."""
    from pipeline.ingest import slayer
    from pipeline.ingest.checkpoint import load_module, save_checkpoint
    from pipeline.ingest.slayer_write_back import write_back
    from pipeline.shrink import kept_only

    module = load_module(context.model)
    # the user's module keeps its size: that its kept neurons agree shows that shrinking is exact
    write_back(module, integers.full)
    save_checkpoint(module, context.out / "checkpoint.pt")
    return kept_only(slayer.run_module(module, integers.full, spikes), integers.kept)


def run_energy(context: Context) -> Any:
    """Return events and energy, core by core."""
    from pipeline.account.energy import account
    from pipeline.emulate import emulate

    network = context.value("quantize").network
    data = model_split(context.model, "test", context.recipe.energy.n_samples)
    return account(
        network, context.value("place"), emulate(network, data.spikes), context.target
    )


def run_report(context: Context) -> Any:
    """Return the files of the report."""
    from pipeline.report import write_report

    return write_report(context)


def calibration_split(model: ModelFolder, recipe: Recipe) -> SpikeSet:
    """Return the samples that a recipe calibrates a model with."""
    from models.data.splits import draw_samples

    settings = recipe.calibration
    if settings.seed == 0:
        return model_split(model, "calibration", settings.n_samples)
    return draw_samples(model_split(model, "calibration", None), settings.n_samples, settings.seed)


def model_split(model: ModelFolder, split: str, n_samples: int | None) -> SpikeSet:
    """Return the first samples of a split of a model's data; all of it if None."""
    from models.data.splits import load_split

    return load_split(model.data, split, model.description.n_steps, n_samples)

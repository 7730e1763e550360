"""The stages of the line: for each its inputs, the settings it depends on, and one call.

Reading this file top to bottom is reading the line. A stage takes the values of the stages it
needs and returns an artifact; :mod:`pipeline.line` decides whether it has to run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifact import source_hash
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
_REPORT_SOURCES = Path(__file__).with_name("report")

# torch, lava and numba take seconds to import: each stage imports what it needs when it runs


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    needs : stages whose artifacts it reads
    settings : the part of recipe, target and model it depends on, as plain JSON
    run : computes the artifact
    describe : one line for the user, from the artifact
    products : files it leaves in the deployment folder
    """

    name: str
    needs: tuple[str, ...]
    settings: Callable[[Context], Any]
    run: Callable[[Context], Any]
    describe: Callable[[Any], str]
    products: tuple[str, ...] = ()


def _ingest(context: Context) -> Any:
    from pipeline.deployment import Ingested
    from pipeline.network_file import read_model

    read = read_model(context.model)
    return Ingested(read.network, read.ledger)


def _calibrate(context: Context) -> Any:
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


def _compress(context: Context) -> Any:
    from pipeline.compress.threads import one_torch_thread
    from pipeline.compressor import compress_network
    from pipeline.kept_parts import KeptParts

    with one_torch_thread():
        return compress_network(
            context.value("ingest").network, context.value("calibrate"), context.recipe,
            calibration_split(context.model, context.recipe).spikes, context.progress,
            kept=KeptParts(context.parts("compress")))


def _quantize(context: Context) -> Any:
    from pipeline.assemble import assemble

    return assemble(
        context.value("ingest").network, context.value("compress"), context.value("calibrate"),
        calibration_split(context.model, context.recipe).spikes,
        context.recipe.compress.match_rates)


def _place(context: Context) -> Any:
    from pipeline.mapping.placed import placed

    return placed(
        context.value("quantize").network, context.target, context.recipe.place,
        calibration_split(context.model, context.recipe).spikes)


def _export(context: Context) -> Any:
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


def _emulate(context: Context) -> Any:
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


def _lava(context: Context) -> Any:
    from pipeline.lava_backend import run_lava

    data = model_split(context.model, "test", context.recipe.verify.n_samples)
    is_stock = context.value("export").obstacle is None
    return run_lava(
        context.out / "network.net" if is_stock else None, context.value("quantize").network,
        data.spikes, context.recipe.verify.lava_time_limit_s, bias_from="first_input",
        with_states=context.value("quantize").network.readout.quantity == "voltage",
        on_progress=context.progress,
    )


def _compare(context: Context) -> Any:
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
    from pipeline.shrink import kept_only

    module = load_module(context.model)
    # the user's module keeps its size: that its kept neurons agree shows that shrinking is exact
    slayer.write_back(module, integers.full)
    save_checkpoint(module, context.out / "checkpoint.pt")
    return kept_only(slayer.run_module(module, integers.full, spikes), integers.kept)


def _energy(context: Context) -> Any:
    from pipeline.account.energy import account
    from pipeline.emulate import emulate

    network = context.value("quantize").network
    data = model_split(context.model, "test", context.recipe.energy.n_samples)
    return account(
        network, context.value("place"), emulate(network, data.spikes), context.target
    )


def _report(context: Context) -> Any:
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


def _section(name: str) -> Callable[[Context], Any]:
    return lambda context: getattr(context.recipe, name).model_dump(mode="json")


def _target(context: Context) -> Any:
    return context.target.model_dump(mode="json")


STAGES: tuple[Stage, ...] = (
    Stage("ingest", (), lambda _: None, _ingest, lambda a: a.summary),
    Stage(
        "calibrate", ("ingest",), _section("calibration"), _calibrate,
        lambda a: f"{a.n_samples} samples, {len(a.curvatures)} curvatures"
        + "".join(f"; {advice}" for advice in a.advice),
    ),
    Stage(
        "compress", ("ingest", "calibrate"),
        lambda c: [_section("compress")(c), _section("calibration")(c)],
        _compress,
        lambda a: f"{sum(p.n_kept for p in a.values()):,} of "
        f"{sum(p.n_weights for p in a.values()):,} weights kept; masks by "
        + ", ".join(sorted({p.algorithm for p in a.values()})),
    ),
    Stage(
        "quantize", ("ingest", "calibrate", "compress"),
        lambda c: c.recipe.compress.match_rates, _quantize, lambda a: a.summary,
    ),
    Stage(
        "place", ("quantize",),
        lambda c: [_target(c), _section("place")(c), _section("calibration")(c)], _place,
        lambda a: f"{len(a.cores)} cores of {a.target}"
        + (f", on {a.n_chips} chips" if a.n_chips > 1 else ""),
    ),
    Stage(
        "export", ("quantize", "place"), lambda _: None, _export,
        lambda a: f"no network.net: {a.obstacle}" if a.obstacle
        else f"{a.n_bytes / 1e6:.1f} MB, read back equal",
        ("network.net", "network.nir"),
    ),
    Stage(
        "emulate", ("ingest", "quantize"), _section("evaluate"), _emulate, lambda a: a.summary
    ),
    Stage(
        "lava", ("quantize", "export"), _section("verify"), _lava,
        lambda a: f"{len(next(iter(a.trace.spikes.values())))} samples "
        + ("through the stock loader" if a.weight_bits else "through Lava's processes, wired by us")
        + ("; hung once and was started again" if a.n_attempts > 1 else ""),
    ),
    Stage(
        "compare", ("ingest", "quantize", "lava"), _section("verify"), _compare,
        lambda a: a.summary, ("checkpoint.pt",),
    ),
    Stage(
        "energy", ("quantize", "place"), lambda c: [_section("energy")(c), _target(c)], _energy,
        lambda a: f"{int(a.counts['executed_synops'].sum(axis=1).mean()):,} executed synops a "
        "sample",
    ),
    Stage(
        "report",
        ("ingest", "calibrate", "compress", "quantize", "place", "export", "emulate", "lava",
         "compare", "energy"),
        lambda c: [_target(c), source_hash(sorted(_REPORT_SOURCES.glob("*.*")))], _report,
        lambda a: f"{len(a.files)} files",
        ("report.json", "report.html", "layers.csv", "cores.csv", "steps.csv", "recipe.yaml",
         "thresholds.yaml"),
    ),
)

"""Every error a user can cause, under one root.

::

    PipelineError                 exit code 2, no traceback
    |-- RecipeError               bad key or impossible combination in a recipe   -> key path
    |-- DataError                 spikes missing, empty, or of the wrong shape    -> file, split
    |-- CheckpointError           unreadable, wrong class, non-finite             -> parameter
    |   `-- UnsupportedLayerError layer kind or option                            -> layer
    |-- CalibrationError          too few samples, curvature unusable             -> synapse
    |-- CompressionError          a level that cannot be reached                  -> synapse
    |-- DeviceError               CUDA asked for and absent                       -> device
    |-- TargetError               bad target file                                 -> key path
    |   `-- DesignRuleError       the network breaks rules of the chip            -> violations
    |-- ExportError               what was read back differs from what was written
    |-- LavaError                 Lava hung or died                               -> its stderr
    |-- EquivalenceError          two backends disagree                 -> layer, neuron, step
    |-- OutputError               a folder that cannot be written                 -> path
    |-- ClusterError              a scheduler or a worker that cannot take part   -> its address
    `-- MissingExtraError         an optional package is absent         -> install command

A message names the problem, the place, the value against the limit, and the remedy.
"""

from __future__ import annotations


class PipelineError(Exception):
    """A condition the user can mend; the command line prints it and exits with code 2."""


class RecipeError(PipelineError):
    """A recipe or model description with a bad key or an impossible combination."""


class DataError(PipelineError):
    """Spikes or labels that are missing, empty, malformed or of the wrong shape."""


class CheckpointError(PipelineError):
    """A checkpoint that cannot be read, does not fit its class, or holds non-finite values."""


class UnsupportedLayerError(CheckpointError):
    """A layer kind or option outside what is supported."""


class CalibrationError(PipelineError):
    """Calibration that cannot give a usable curvature."""


class CompressionError(PipelineError):
    """A level of sparsity or precision that a synapse cannot reach."""


class DeviceError(PipelineError):
    """A compute device is asked for and absent."""


class TargetError(PipelineError):
    """A hardware target that is unknown or incomplete."""


class DesignRuleError(TargetError):
    """A network that breaks rules of its target; the message lists all violations."""


class ExportError(PipelineError):
    """A NetX file that does not read back as what was written."""


class LavaError(PipelineError):
    """A Lava run that exceeded its time limit or died."""


class EquivalenceError(PipelineError):
    """Two backends whose spikes differ."""


class OutputError(PipelineError):
    """An output folder that cannot be written."""


class ClusterError(PipelineError):
    """A scheduler that cannot be reached, or a worker of it that cannot take part."""


class MissingExtraError(PipelineError):
    """An optional package that is not installed; the message says how to install it."""

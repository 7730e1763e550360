"""What a neuron makes of spikes before its threshold: the filter M of SBC, applied to input.

In: spikes of the inputs of a group. Out: M X, the potential that each input with weight 1 would
give; the curvature is its Gram matrix (:mod:`pipeline.compress.curvature`, which has the symbols).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.neuron import CubaNeuron, Neuron, RelayNeuron, ResonatorNeuron, SigmaDeltaNeuron

DECAY_UNITY = 4096
OBJECTIVES = ("smp", "voltage", "obc")


def filter_decays(
    neuron: CubaNeuron | SigmaDeltaNeuron | RelayNeuron, objective: str
) -> tuple[int, int]:
    """Return the current and voltage decay of the filters that an objective applies.

    The state of sigma-delta neurons is the sum of all messages: decays 4096 and 0. Relays have
    none.

    Parameters
    ----------
    objective : ``smp``, both filters of the neuron; ``voltage``, its second only; ``obc``, none:
        the error of the input current, as in OBC and GPTQ (H = E[2 X^T X])
    """
    current_decay, voltage_decay = (
        (neuron.current_decay, neuron.voltage_decay) if isinstance(neuron, CubaNeuron)
        else (DECAY_UNITY, 0 if isinstance(neuron, SigmaDeltaNeuron) else DECAY_UNITY))
    return {
        "smp": (current_decay, voltage_decay),
        "voltage": (DECAY_UNITY, voltage_decay),
        "obc": (DECAY_UNITY, DECAY_UNITY),
    }[objective]


def filter_input(neuron: Neuron, spikes: Tensor, objective: str) -> tuple[Tensor, ...]:
    r"""Return the inputs as a neuron's state sees them: one array, or the parts of a complex one.

    A resonator filters by :math:`z_t = (c + i s) z_{t-1} + x_t`. Its error is the sum over both
    parts; that real and imaginary weights meet in it is left out, each is compressed by itself.

    Parameters
    ----------
    spikes : (..., t) of any numeric dtype

    Returns
    -------
    (..., t) float64 each
    """
    if not isinstance(neuron, ResonatorNeuron):
        return (filter_spikes(spikes, *filter_decays(neuron, objective)),)
    if objective == "obc":
        return (spikes.to(torch.float64),)
    decay = complex(neuron.cos_decay, neuron.sin_decay) / DECAY_UNITY
    by_step = spikes.movedim(-1, 0).to(torch.complex128)
    state, states = torch.zeros_like(by_step[0]), torch.empty_like(by_step)
    for t in range(len(by_step)):
        state = decay * state + by_step[t]
        states[t] = state
    states = states.movedim(0, -1)
    return (states.real.contiguous(), states.imag.contiguous())


def delay_spikes(spikes: Tensor, delays: Tensor) -> Tensor:
    """Return each input's spikes later by its delay; what leaves the sample is lost.

    Parameters
    ----------
    spikes : (n, d_in, t)
    delays : (d_in,) int64, steps, at least 0
    """
    n_steps = spikes.shape[-1]
    source = torch.arange(n_steps, device=spikes.device)[None, :] - delays[:, None]
    index = source.clamp(min=0).expand(len(spikes), -1, -1)
    return torch.where(source >= 0, spikes.gather(-1, index), torch.zeros_like(spikes))


def filter_spikes(spikes: Tensor, current_decay: int, voltage_decay: int) -> Tensor:
    r"""Return M X for a CUBA neuron.

    .. math:: u_t = (1 - d_u/4096) u_{t-1} + x_t, \qquad p_t = (1 - d_v/4096) p_{t-1} + u_t

    Parameters
    ----------
    spikes : (..., t) of any numeric dtype
    current_decay, voltage_decay : 0..4096, see :class:`pipeline.neuron.CubaNeuron`

    Returns
    -------
    potential : (..., t) float64
    """
    keep_u = 1.0 - current_decay / DECAY_UNITY
    keep_p = 1.0 - voltage_decay / DECAY_UNITY
    by_step = spikes.movedim(-1, 0).to(torch.float64)
    potential = torch.empty_like(by_step)
    u = torch.zeros_like(by_step[0])
    p = torch.zeros_like(u)
    for t in range(len(by_step)):
        u = keep_u * u + by_step[t]
        p = keep_p * p + u
        potential[t] = p
    return potential.movedim(0, -1)


def keeps_in_silence(neuron: Neuron, objective: str) -> float | None:
    """Return the share of M X that is left after a step without input; None if it takes two."""
    if isinstance(neuron, ResonatorNeuron):
        return None
    decays = filter_decays(neuron, objective)
    return 1.0 - min(decays) / DECAY_UNITY if max(decays) == DECAY_UNITY else None


def filter_active(spikes: Tensor, steps: NDArray[np.int64], n_steps: int, keep: float) -> Tensor:
    r"""Return M X of the steps with input, so that its Gram matrix is that of all steps.

    In the silent steps after one, M X is the same but for factors keep, keep^2, ...: their squares
    add up to a weight of the one row.

    Parameters
    ----------
    spikes : (..., t) of any numeric dtype; input comes in ``steps`` only
    steps : (n_active,) ascending
    keep : of :func:`keeps_in_silence`

    Returns
    -------
    (..., n_active) float64
    """
    gaps = np.diff(np.append(steps, n_steps))
    by_step = spikes.movedim(-1, 0)
    rows = torch.empty((len(steps), *by_step.shape[1:]), dtype=torch.float64, device=spikes.device)
    state = torch.zeros_like(rows[0])
    for k, step in enumerate(steps.tolist()):
        state = state + by_step[step].to(torch.float64)
        rows[k] = state * float(np.sqrt((keep ** (2 * np.arange(gaps[k]))).sum()))
        state = state * keep ** int(gaps[k])
    return rows.movedim(0, -1)

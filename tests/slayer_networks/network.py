"""Small SLAYER networks, copied into model folders by the fixture ``make_model``."""

import torch
from lava.lib.dl import slayer

cuba = slayer.block.cuba


def neuron(**changes):
    return {"threshold": 0.6, "current_decay": 0.25, "voltage_decay": 0.03, **changes}


class Chain(torch.nn.Module):
    """Blocks one after another."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, spikes):
        for block in self.blocks:
            spikes = block(spikes)
        return spikes


class Dense(Chain):
    def __init__(self, weight_norm=False, is_masked=False, n_hidden=16, **changes):
        mask = (torch.arange(n_hidden * 12).reshape(n_hidden, 12) % 3 > 0).float()
        super().__init__(
            cuba.Dense(neuron(**changes), 12, n_hidden, weight_scale=4, weight_norm=weight_norm,
                       mask=mask if is_masked else None),
            cuba.Dense(neuron(**changes), n_hidden, 10, weight_scale=4, weight_norm=weight_norm),
        )


class Conv(Chain):
    def __init__(self, weight_norm=False):
        options = {"weight_scale": 4, "weight_norm": weight_norm}
        super().__init__(
            cuba.Conv(neuron(), 2, 4, 3, stride=2, padding=1, **options),
            cuba.Conv(neuron(), 4, 6, (2, 3), padding=(0, 1), dilation=(2, 1), groups=2, **options),
            cuba.Flatten(),
            cuba.Dense(neuron(), 6 * 2 * 4, 5, **options),
        )


class ReshapesItself(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 2 * 8 * 7, 10, weight_scale=8))

    def forward(self, spikes):
        return super().forward(spikes.flatten(1, 3))


class Dropout(Chain):
    def __init__(self):
        dropout = slayer.neuron.Dropout(p=0.5)
        super().__init__(cuba.Dense(neuron(dropout=dropout), 12, 10, weight_scale=4))


class NoHook(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 12, 10, pre_hook_fx=None, weight_scale=4))
        self.blocks[0].synapse.pre_hook_fx = None


# ------------------------------------------------------------ not supported


class Pool(Chain):
    def __init__(self):
        super().__init__(
            cuba.Conv(neuron(), 2, 4, 3, weight_scale=4), cuba.Pool(neuron(threshold=0.5), 2),
        )


class Recurrent(Chain):
    def __init__(self):
        super().__init__(cuba.Recurrent(neuron(), 12, 10, weight_scale=4))


class Affine(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 12, 16), cuba.Affine(neuron(), 16, 10))


class Alif(Chain):
    def __init__(self):
        super().__init__(slayer.block.alif.Dense(
            {**neuron(), "threshold_step": 0.1, "threshold_decay": 0.1, "refractory_decay": 0.1},
            12, 10,
        ))


class Option(Chain):
    def __init__(self, neuron_options=None, **options):
        super().__init__(
            cuba.Dense(neuron(), 12, 16, weight_scale=4),
            cuba.Dense(neuron(**(neuron_options or {})), 16, 10, weight_scale=4, **options),
        )


class Norm(Chain):
    def __init__(self):
        norm = slayer.neuron.norm.MeanOnlyBatchNorm
        super().__init__(cuba.Dense(neuron(norm=norm), 12, 10, weight_scale=4))


class PlainTorch(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(20, 20)

    def forward(self, spikes):
        return self.linear(spikes)


class Between(torch.nn.Module):
    """Two square blocks, and something else in forward."""

    def __init__(self, what):
        super().__init__()
        self.a = cuba.Dense(neuron(), 12, 12, weight_scale=4)
        self.b = cuba.Dense(neuron(), 12, 12, weight_scale=4)
        self.what = what

    def forward(self, spikes):
        hidden = self.a(spikes)
        if self.what == "skip":
            return self.b(hidden + spikes)
        if self.what == "in-place skip":
            hidden += spikes
            return self.b(hidden)
        if self.what == "in-place mask":
            hidden[:, :6] = 0
            return self.b(hidden)
        if self.what == "sum":
            return self.b(hidden) + hidden
        if self.what == "branches":
            return torch.cat([hidden, self.b(spikes)], dim=1)
        if self.what == "swap":
            return self.b(hidden.flip(1))
        if self.what == "delay":
            return self.b(hidden.roll(1, dims=-1))
        if self.what == "dead end":
            self.b(hidden)
            return hidden
        if self.what == "tuple":
            return self.b(hidden), hidden
        if self.what == "twice":
            return self.b(self.a(hidden))
        return self.b(hidden)

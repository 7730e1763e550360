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


class Pool(Chain):
    """On (2, 8, 7): the convolution leaves (4, 6, 5), odd where the pool is even."""

    def __init__(self, kernel=2):
        super().__init__(
            cuba.Conv(neuron(), 2, 4, 3, weight_scale=4),
            cuba.Pool(neuron(threshold=0.5), kernel), cuba.Flatten(),
            cuba.Dense(neuron(), 4 * 3 * (3 if kernel == 2 else 1), 5, weight_scale=4),
        )


class Recurrent(Chain):
    def __init__(self, **changes):
        super().__init__(
            cuba.Recurrent(neuron(**changes), 12, 10, weight_scale=4),
            cuba.Dense(neuron(), 10, 6, weight_scale=4),
        )


class Affine(Chain):
    def __init__(self, **options):
        super().__init__(cuba.Dense(neuron(), 12, 16, weight_scale=4),
                         cuba.Affine(neuron(), 16, 10, weight_scale=4, **options))


class Average(Chain):
    def __init__(self):
        super().__init__(cuba.Dense(neuron(), 12, 15, weight_scale=4), cuba.Average(5))


class Input(Chain):
    """Neurons before the first weights."""

    def __init__(self, weight=0.9):
        super().__init__(cuba.Input(neuron(), weight=weight),
                         cuba.Dense(neuron(), 12, 10, weight_scale=4))


class Norm(Chain):
    """Normalization with statistics that are not those of its start."""

    def __init__(self, kind="mean", is_conv=False):
        norm = {
            "mean": slayer.neuron.norm.MeanOnlyBatchNorm,
            "weight": slayer.neuron.norm.WgtScaleBatchNorm,
            "torch": lambda: torch.nn.BatchNorm3d(4) if is_conv else torch.nn.BatchNorm1d(16),
        }[kind]
        first = cuba.Conv(neuron(norm=norm), 2, 4, 3, weight_scale=4) if is_conv else \
            cuba.Dense(neuron(norm=norm), 12, 16, weight_scale=4)
        super().__init__(first, *([cuba.Flatten()] if is_conv else []),
                         cuba.Dense(neuron(), 4 * 6 * 5 if is_conv else 16, 5, weight_scale=4))
        n_channels = 4 if is_conv else 16
        statistics = first.neuron.norm
        statistics.running_mean = torch.linspace(-0.3, 0.4, n_channels)
        if kind == "weight":
            statistics.running_var = torch.tensor([0.1])  # a factor of 2
        if kind == "torch":
            statistics.running_var = torch.linspace(0.2, 1.5, n_channels)
            with torch.no_grad():
                statistics.bias += 0.1


class Delay(Chain):
    def __init__(self, is_conv=False):
        first = cuba.Conv(neuron(), 2, 4, 3, weight_scale=4, delay=True) if is_conv else \
            cuba.Dense(neuron(), 12, 16, weight_scale=4, delay=True)
        super().__init__(first, *([cuba.Flatten()] if is_conv else []),
                         cuba.Dense(neuron(), 4 * 6 * 5 if is_conv else 16, 5, weight_scale=4,
                                    delay=True))
        for block in (first, self.blocks[-1]):
            n_channels = 4 if is_conv and block is first else block.synapse.out_channels
            block.delay.init = True
            block.delay.delay.data = torch.linspace(0, 7.9, n_channels)


class OwnDecays(Chain):
    def __init__(self):
        options = {"shared_param": False, "current_decay": (0.1, 0.9), "voltage_decay": (0.01, 0.5)}
        super().__init__(cuba.Dense(neuron(**options), 12, 16, weight_scale=4),
                         cuba.Dense(neuron(), 16, 5, weight_scale=4))


class Graph(torch.nn.Module):
    """Skips, sums and concatenation, and a log that does not matter."""

    def __init__(self, what):
        super().__init__()
        self.what = what
        self.a = cuba.Dense(neuron(), 12, 12, weight_scale=4)
        self.b = cuba.Dense(neuron(), 12, 12, weight_scale=4)
        n_in = {"concat": 24, "concat all": 36}.get(what, 12)
        self.c = cuba.Dense(neuron(), n_in, 10, weight_scale=4)
        self.log = []

    def forward(self, spikes):
        first = self.a(spikes)
        self.log.append(first.mean().item())
        if self.what == "skip":
            return self.c(self.b(first) + spikes)
        if self.what == "in place":
            second = self.b(first)
            second += first
            return self.c(second)
        if self.what == "sum of a list":
            return self.c(sum([first, self.b(first), spikes]))
        if self.what == "twice the same":
            second = self.b(first)
            return self.c(torch.add(second, second))
        if self.what == "concat":
            return self.c(torch.cat([first, self.b(spikes)], dim=1))
        if self.what == "concat all":
            second = self.b(first)
            return self.c(torch.cat((first + second, torch.cat([second, spikes], 1)), dim=-2))
        raise ValueError(self.what)


class ConvGraph(torch.nn.Module):
    """Feature maps added and concatenated, flattened before or after; on (2, 8, 7)."""

    def __init__(self, groups=1):
        super().__init__()
        options = {"padding": 1, "weight_scale": 4}
        self.a = cuba.Conv(neuron(), 2, 4, 3, **options)
        self.b = cuba.Conv(neuron(), 4, 4, 3, **options)
        self.c = cuba.Conv(neuron(), 8, 4, 3, stride=2, groups=groups, **options)
        self.d = cuba.Dense(neuron(), 4 * 4 * 4 + 4 * 8 * 7, 6, weight_scale=2)

    def forward(self, spikes):
        first = self.a(spikes)
        second = first + self.b(first)
        third = self.c(torch.cat([second, first], dim=1))
        return self.d(torch.cat([third.flatten(1, 3), first.flatten(1, 3)], dim=1)), third


# ------------------------------------------------------------ not supported


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


class RecurrentNorm(Chain):
    def __init__(self):
        norm = slayer.neuron.norm.MeanOnlyBatchNorm
        super().__init__(cuba.Recurrent(neuron(norm=norm), 12, 10, weight_scale=4))


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
        self.b = cuba.Dense(neuron(), 12, 6 if what == "shapes" else 12, weight_scale=4)
        self.what = what
        if what == "late join":
            self.a = cuba.Dense(neuron(), 12, 12, weight_scale=4, delay=True)
            self.a.delay.init, self.a.delay.max_delay = True, None
            self.a.delay.delay = torch.nn.Parameter(torch.full((12,), 63.0))

    def forward(self, spikes):
        if self.what == "feedback":
            fed_back, outputs = torch.zeros_like(spikes[..., :1]), []
            for step in range(spikes.shape[-1]):
                fed_back = self.b(self.a(spikes[..., step:step + 1] + fed_back))
                outputs.append(fed_back)
            return torch.cat(outputs, dim=-1)
        hidden = self.a(spikes)
        if self.what == "late join":
            return self.b(hidden + spikes)
        if self.what == "shapes":
            return hidden + self.b(hidden)
        if self.what == "one for all":
            return self.b(hidden + hidden.mean(1, keepdim=True))
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
        if self.what == "list":
            return [self.b(hidden)]
        if self.what == "twice":
            return self.b(self.a(hidden))
        return self.b(hidden)

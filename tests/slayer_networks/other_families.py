"""Networks of sigma-delta and resonator blocks; :mod:`network` has those of CUBA blocks."""

import random

import torch
from lava.lib.dl import slayer
from network import Chain, cuba, neuron


class SigmaDelta(Chain):
    """Sigma-delta blocks drawn by a number, on (2, 8, 7) or (12,)."""

    def __init__(
        self, drawn=0, is_conv=False, norm=None, has_output=True, is_relu=False, gain=1, **changes
    ):
        relu, identity = torch.nn.functional.relu, torch.nn.Identity()
        draw = random.Random(drawn)
        mean_only = slayer.neuron.norm.MeanOnlyBatchNorm if norm == "mean" else norm

        def sd(**own):
            return {
                "threshold": draw.choice([1 / 64, 0.1, 0.3]), "norm": mean_only,
                "activation": draw.choice([relu, relu if is_relu else identity]),
                **changes, **own}

        block, options = slayer.block.sigma_delta, {"weight_scale": draw.choice([1, 2])}
        first = {key: value for key, value in sd().items() if key != "norm"}
        blocks, n_in = [block.Input(first)], 12
        if is_conv:
            kernel, stride, padding = draw.choice([(3, 2, 1), ((2, 3), 1, (0, 1)), (3, 1, 0)])
            blocks += [
                block.Conv(sd(), 2, 4, kernel, stride=stride, padding=padding, **options),
                block.Conv(sd(), 4, 6, (2, 3), dilation=(2, 1), groups=2, **options),
                block.Flatten()]
            with torch.no_grad():
                n_in = torch.nn.Sequential(*blocks)(torch.zeros(1, 2, 8, 7, 2)).shape[1]
        blocks += [block.Dense(sd(), n_in, 16, **options), block.Dense(sd(), 16, 9, **options)]
        output = {key: value for key, value in sd().items() if key != "norm"}
        super().__init__(*blocks, *([block.Output(output, 9, 5)] if has_output else []))
        for part in self.blocks:
            if hasattr(part, "synapse"):
                part.synapse.weight.data *= gain
            if norm == "mean" and getattr(getattr(part, "neuron", None), "norm", None) is not None:
                n = part.synapse.out_channels
                part.neuron.norm.running_mean = (torch.rand(n) - 0.5) * 0.8


class SigmaDeltaGraph(torch.nn.Module):
    """Sums and concatenation of sigma-delta blocks, averaged at the end."""

    def __init__(self, what="even"):
        super().__init__()
        block = slayer.block.sigma_delta
        neuron = {"threshold": 0.1, "activation": torch.nn.functional.relu}
        self.what = what
        self.encode = block.Input(neuron)
        self.a, self.b = block.Dense(neuron, 12, 12), block.Dense(neuron, 12, 12)
        self.c = block.Dense(neuron, 24, 10)
        self.average = block.Average(5)

    def forward(self, data):
        messages = self.encode(data)
        first = self.a(messages)
        second = self.b(messages if self.what == "even" else first)
        return self.average(self.c(torch.cat([first + second, second], dim=1)))


class SetBias(Chain):
    """Biases given by set_bias, per channel or per neuron."""

    def __init__(self, bias=0.25, per="channel", has_no_hook=False):
        block = slayer.block.sigma_delta
        neuron = {"threshold": 0.1, "activation": torch.nn.functional.relu}
        super().__init__(block.Input(neuron), block.Conv(neuron, 2, 4, 3))
        if has_no_hook:
            self.blocks[1].synapse.pre_hook_fx = None
        values = torch.full((4, 1, 1), bias) * torch.arange(4).reshape(4, 1, 1)
        if per == "neuron":
            values = torch.full((4, 6, 5), bias)
            values[0, 1, 2] = 0.5
        self.blocks[1].neuron.set_bias(values)


class SigmaDeltaOption(Chain):
    """One option of a sigma-delta block that has no equal."""

    def __init__(self, where="hidden", shift=False, delay=False, has_norm=False, **changes):
        block = slayer.block.sigma_delta
        neuron = {"threshold": 0.1, "activation": torch.nn.functional.relu}
        own = {key: value for key, value in changes.items() if where == "hidden"}
        own["activation"] = getattr(torch, own.get("activation", "relu"))
        if has_norm:
            own["norm"] = lambda: torch.nn.InstanceNorm1d(16)
        first = {key: value for key, value in changes.items() if where == "input"}
        given = None if first.pop("neuron", True) is None else neuron
        super().__init__(
            block.Input(given, **first),
            block.Dense(neuron | own, 12, 16, delay_shift=shift, delay=delay),
            block.Output(neuron, 16, 5, count_log=where == "output"))


class Mixed(Chain):
    """Families one after another, or without the input that encodes."""

    def __init__(self, what):
        sd = slayer.block.sigma_delta
        graded = {"threshold": 0.1, "activation": torch.nn.functional.relu}
        resonator = {"threshold": 0.3, "period": 9, "decay": 0.05}
        super().__init__(*{
            "no input": lambda: [sd.Dense(graded, 12, 10)],
            "spikes to messages": lambda: [
                cuba.Dense(neuron(), 12, 12), sd.Dense(graded, 12, 10)],
            "messages to spikes": lambda: [sd.Input(graded), cuba.Dense(neuron(), 12, 10)],
            "encoded twice": lambda: [sd.Input(graded), sd.Input(graded)],
            "cuba and resonators": lambda: [
                cuba.Dense(neuron(), 12, 14, weight_scale=4),
                slayer.block.rf.Dense(resonator, 14, 12, weight_scale=6),
                slayer.block.rf_iz.Dense(resonator, 12, 10, weight_scale=6)],
        }[what]())


class Resonators(Chain):
    """Resonate-and-fire blocks drawn by a number, on (2, 8, 7) or (12,)."""

    def __init__(self, drawn=0, kind="rf", is_conv=False, delay=False, **changes):
        draw, block = random.Random(drawn), getattr(slayer.block, kind)

        def resonator():
            return {"threshold": draw.uniform(0.1, 1.5), "period": draw.uniform(4, 30),
                    "decay": draw.choice([0.01, 0.05, 0.2]), "scale": draw.choice([32, 64]),
                    **changes}

        options = {"weight_scale": draw.choice([4, 8]), "delay": delay}
        n_in, blocks = 12, []
        if is_conv:
            kernel, stride, padding = draw.choice([(3, 2, 1), ((2, 3), 1, (0, 1)), (3, 1, 0)])
            blocks = [block.Conv(resonator(), 2, 4, kernel, stride=stride, padding=padding,
                                 **options),
                      block.Flatten()]
            with torch.no_grad():
                n_in = torch.nn.Sequential(*blocks)(torch.zeros(1, 2, 8, 7, 2)).shape[1]
        own = {} if is_conv else {
            "shared_param": draw.random() < 0.5} if "shared_param" not in changes else {}
        super().__init__(*blocks, block.Dense(resonator() | own, n_in, 16, **options),
                         block.Dense(resonator(), 16, 9, **options))
        with torch.no_grad():
            self(torch.zeros(1, *((2, 8, 7) if is_conv else (12,)), 2))
        for part in self.blocks:
            if delay and hasattr(part, "delay"):
                part.delay.init = True
                part.delay.delay.data = torch.rand(part.neuron.shape[0]) * 9


class ResonatorOption(Chain):
    """One option of a resonate-and-fire block that has no equal."""

    def __init__(self, kind="rf", block="Dense", options=None, has_norm=False, **changes):
        resonator = {"threshold": 0.3, "period": 9, "decay": 0.05, **changes}
        if has_norm:
            resonator["norm"] = slayer.neuron.norm.MeanOnlyBatchNorm
        super().__init__(
            getattr(getattr(slayer.block, kind), block)(resonator, 12, 10, **(options or {})))

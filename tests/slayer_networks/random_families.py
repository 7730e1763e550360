"""SLAYER modules drawn from a seed: chains and graphs of sigma-delta blocks and of resonators."""

import random

import torch
from lava.lib.dl import slayer
from random_graph import RandomGraph, cuba

sigma_delta = slayer.block.sigma_delta


class RandomResonators(RandomGraph):
    """One to five blocks on (2, 7, 6) or (12,): rf and rf_iz, and CUBA blocks among them."""

    def _joined(self, shapes):
        if self.rng.random() < 0.5:
            return (len(shapes) - 1,), shapes[-1]
        return super()._joined(shapes)

    def _drawn(self, shape):
        rng = self.rng
        if rng.random() < 0.15:
            return super()._drawn(shape)
        block = rng.choice([slayer.block.rf, slayer.block.rf_iz])
        neuron = {"threshold": rng.uniform(0.07, 1.0), "period": rng.uniform(4, 30),
                  "decay": rng.choice([0.02, 0.1, 0.4]), "scale": rng.choice([16, 64, 128])}
        options = {"weight_scale": rng.choice([4, 8]), "delay": rng.random() < 0.12}
        if len(shape) == 3:
            arguments, keys, shape = drawn_convolution(rng, shape)
            return block.Conv(neuron, *arguments, **keys, **options), shape
        if rng.random() < 0.2:
            neuron["shared_param"] = False
        n_out = rng.randint(1, 14)
        return block.Dense(neuron, shape[0], n_out, **options), (n_out,)

    def _settle(self):
        self.eval()
        with torch.no_grad():
            self(torch.zeros(1, *self.input_shape, 2))
        for block in self.blocks.values():
            if block.delay is not None:
                n = block.delay.delay.numel()
                block.delay.delay.data = torch.rand(n) * self.rng.choice([3, 12, 62.9])
            if getattr(block.neuron, "norm", None) is not None:
                block.neuron.norm.running_mean = torch.randn(block.shape[0]) * 0.15
            synapse = getattr(block, "synapse", None)
            for part in (getattr(synapse, "real", None), getattr(synapse, "imag", None)):
                if part is not None and not part.pre_hook_fx(part.weight).any():
                    part.weight.data.view(-1)[0] = 1.0
            if isinstance(block, (cuba.Dense, cuba.Conv)):
                self._give_weight(block)


class RandomMessages(RandomGraph):
    """What encodes, one to four sigma-delta layers of one or two blocks, at times what decodes.

    Blocks of a layer are as deep, and summed or concatenated: others SLAYER and Lava time
    differently. Errors that add up (cum_error) fail in SLAYER, and are drawn for Lava alone.
    """

    def __init__(self, seed):
        torch.nn.Module.__init__(self)
        torch.manual_seed(seed)
        self.rng = rng = random.Random(seed)
        self.blocks = torch.nn.ModuleDict()
        self.input_shape = shape = rng.choice([(12,), (2, 7, 6)])
        self.steps, self.n_values = [], 1
        self.is_relu = rng.random() < 0.6  # everywhere, as stock NetX has it
        self.is_joined = rng.random() < 0.5
        self._block(sigma_delta.Input(self._neuron()), 0)
        for n_following in reversed(range(rng.randint(1, 4))):
            if len(shape) == 3 and rng.random() < 0.4:
                self._step("flatten", None, (self.n_values - 1,))
                shape = (shape[0] * shape[1] * shape[2],)
            shape = self._layer(shape, can_join=n_following > 0)
        if len(shape) == 1 and rng.random() < 0.6:
            output = sigma_delta.Output(self._neuron(), shape[0], rng.randint(1, 6))
            self._block(output, self.n_values - 1)
        self._settle()

    def _step(self, *step):
        self.steps.append(step)
        self.n_values += 1

    def _block(self, block, source):
        name = f"b{len(self.blocks)}"
        self.blocks[name] = block
        self._step("block", name, (source,))

    def _neuron(self):
        relu = torch.nn.functional.relu
        other = relu if self.is_relu else torch.nn.Identity()
        return {"threshold": self.rng.uniform(1 / 64, self.rng.choice([0.03, 0.2])),
                "activation": self.rng.choice([relu, other])}

    def _layer(self, shape, can_join):
        """Add one block, or two that are joined; return the shape of what leaves."""
        rng, source = self.rng, self.n_values - 1
        kind = rng.choice([None, "add", "cat"]) if self.is_joined and can_join else None
        if len(shape) == 1:
            n_out, block, keys = rng.randint(2, 14), sigma_delta.Dense, {}
            arguments, shape = (shape[0], n_out), (n_out,)
        else:
            arguments, keys, shape = drawn_convolution(rng, shape)
            block = sigma_delta.Conv
        for _ in range(2 if kind else 1):
            neuron = self._neuron()
            if rng.random() < 0.4:
                neuron["norm"] = slayer.neuron.norm.MeanOnlyBatchNorm
            self._block(block(neuron, *arguments, weight_norm=rng.random() < 0.3,
                              weight_scale=rng.choice([2, 4]), **keys), source)
        if kind:
            self._step(kind, None, (source + 1, source + 2))
            shape = (shape[0] * (2 if kind == "cat" else 1), *shape[1:])
        return shape

    def _settle(self):
        self.eval()
        with torch.no_grad():
            self(torch.zeros(1, *self.input_shape, 2))
        for block in self.blocks.values():
            if not hasattr(block, "synapse"):
                continue
            self._give_weight(block)
            if block.neuron.norm is not None:
                n = block.synapse.out_channels
                block.neuron.norm.running_mean = (torch.rand(n) - 0.5) * 0.8


def drawn_convolution(rng, shape):
    """Return arguments and keys of a convolution over (c, y, x), and what shape it makes."""
    groups = rng.choice([g for g in (1, 1, 2) if shape[0] % g == 0])
    c_out = groups * rng.randint(1, 3)
    kernel = tuple(rng.randint(1, min(3, s)) for s in shape[1:])
    stride, padding = (tuple(rng.randint(low, low + 1) for _ in kernel) for low in (1, 0))
    dilation = tuple(2 if 2 * (k - 1) < s and rng.random() < 0.3 else 1
                     for k, s in zip(kernel, shape[1:], strict=True))
    extent = tuple((s + 2 * p - d * (k - 1) - 1) // t + 1 for s, p, d, k, t in zip(
        shape[1:], padding, dilation, kernel, stride, strict=True))
    keys = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return (shape[0], c_out, kernel), keys, (c_out, *extent)

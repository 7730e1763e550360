"""SLAYER modules drawn from a seed: every kind of block, in graphs with sums and concatenation."""

import random

import torch
from lava.lib.dl import slayer

cuba = slayer.block.cuba


class RandomGraph(torch.nn.Module):
    """One to five blocks on (2, 7, 6) or (12,); what is drawn is in ``steps``."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.rng = random.Random(seed)
        self.blocks = torch.nn.ModuleDict()
        self.input_shape = self.rng.choice([(12,), (2, 7, 6)])
        self.steps = []
        shapes = [self.input_shape]
        for index in range(self.rng.randint(1, 5)):
            source, shape = self._joined(shapes)
            if len(shape) == 3 and self.rng.random() < 0.35:
                self.steps.append(("flatten", None, source))
                shape = (shape[0] * shape[1] * shape[2],)
                shapes.append(shape)
                source = (len(shapes) - 1,)
            name = f"b{index}"
            block, shape = self._drawn(shape)
            self.blocks[name] = block
            self.steps.append(("block", name, source))
            shapes.append(shape)
        self._settle()

    def forward(self, spikes):
        values = [spikes]
        for kind, name, source in self.steps:
            if kind == "block":
                values.append(self.blocks[name](values[source[0]]))
            elif kind == "add":
                values.append(values[source[0]] + values[source[1]])
            elif kind == "cat":
                values.append(torch.cat([values[s] for s in source], dim=1))
            else:
                values.append(values[source[0]].flatten(1, 3))
        return values[-1]

    def _joined(self, shapes):
        """Return the source of the next block: always the last value, at times joined."""
        last, shape = len(shapes) - 1, shapes[-1]
        alike = [i for i, s in enumerate(shapes[:-1]) if s[1:] == shape[1:]]
        if not alike or self.rng.random() < 0.5:
            return (last,), shape
        other = self.rng.choice(alike)
        kind = "add" if shapes[other] == shape and self.rng.random() < 0.5 else "cat"
        self.steps.append((kind, None, (last, other)))
        if kind == "cat":
            shape = (shape[0] + shapes[other][0], *shape[1:])
        shapes.append(shape)
        return (len(shapes) - 1,), shape

    def _neuron(self, is_conv):
        rng = self.rng
        neuron = {
            "threshold": rng.uniform(0.05, 3.0), "current_decay": rng.choice([0.0, 0.1, 0.3, 1.0]),
            "voltage_decay": rng.choice([0.0, 0.03, 0.4, 1.0]), "scale": rng.choice([16, 64, 256]),
        }
        if rng.random() < 0.3:
            neuron["norm"] = slayer.neuron.norm.MeanOnlyBatchNorm
        if not is_conv and rng.random() < 0.2:
            neuron |= {"shared_param": False, "current_decay": (0.05, 0.9),
                       "voltage_decay": (0.01, 0.6)}
        return neuron

    def _drawn(self, shape):
        rng, options = self.rng, {"weight_scale": self.rng.choice([2, 4, 8])}
        neuron = self._neuron(len(shape) == 3)
        if len(shape) == 1:
            n_out = rng.randint(1, 14)
            if rng.random() < 0.25:
                neuron.pop("norm", None)
                options["delay"] = rng.random() < 0.3
                return cuba.Recurrent(neuron, shape[0], n_out, **options), (n_out,)
            options |= {"delay": rng.random() < 0.3, "weight_norm": rng.random() < 0.3}
            return cuba.Dense(neuron, shape[0], n_out, **options), (n_out,)
        if rng.random() < 0.2 and min(shape[1:]) > 1:
            neuron.pop("norm", None)
            neuron["threshold"] = 0.5
            return cuba.Pool(neuron, 2), (shape[0], *(-(-s // 2) for s in shape[1:]))
        return self._convolution(neuron, shape, options)

    def _convolution(self, neuron, shape, options):
        rng = self.rng
        groups = rng.choice([g for g in (1, 1, 2, 3) if shape[0] % g == 0])
        c_out = groups * rng.randint(1, 3)
        kernel = tuple(rng.randint(1, min(3, s)) for s in shape[1:])
        stride = tuple(rng.randint(1, 2) for _ in kernel)
        dilation = tuple(2 if 2 * (k - 1) < s and rng.random() < 0.3 else 1
                         for k, s in zip(kernel, shape[1:], strict=True))
        padding = tuple(rng.randint(0, 1) for _ in kernel)
        extent = tuple((s + 2 * p - d * (k - 1) - 1) // t + 1 for s, p, d, k, t in zip(
            shape[1:], padding, dilation, kernel, stride, strict=True))
        block = cuba.Conv(
            neuron, shape[0], c_out, kernel, stride=stride, padding=padding, dilation=dilation,
            groups=groups, delay=rng.random() < 0.3, weight_norm=rng.random() < 0.3, **options)
        return block, (c_out, *extent)

    def _settle(self):
        """Run once, which fixes sizes, and draw what SLAYER leaves at its start."""
        self.eval()
        with torch.no_grad():
            self(torch.zeros(1, *self.input_shape, 2))
        for block in self.blocks.values():
            if not isinstance(block, (cuba.Pool, cuba.Recurrent)):
                self._give_weight(block)
            if block.delay is not None:
                n = block.delay.delay.numel()
                block.delay.delay.data = torch.rand(n) * self.rng.choice([3, 12, 62.9])
            if block.neuron.norm is not None:
                n = block.shape[0]
                block.neuron.norm.running_mean = torch.randn(n) * 0.15

    def _give_weight(self, block):
        """Give a layer whose weights all round to zero one that does not: ingest refuses such."""
        synapse = block.synapse
        with torch.no_grad():
            if not synapse.pre_hook_fx(synapse.weight).any():
                weight = synapse.weight_v if synapse.weight_norm_enabled else synapse.weight
                if synapse.weight_norm_enabled:
                    synapse.weight_g.fill_(1.0)
                weight.view(-1)[0] = 1.0

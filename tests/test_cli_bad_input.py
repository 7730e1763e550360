"""Bad input ends with one message that names it, and leaves nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


def expect_error(code: int, out: Path, capsys, *words: str) -> None:
    """Exit code 2, one message with all the words, no traceback, nothing half-written."""
    message = capsys.readouterr().err
    assert code == 2, message
    assert message.startswith("spikefit: ") and "Traceback" not in message
    for word in words:
        assert word in message, f"{word!r} not in: {message}"
    if out.is_dir():
        assert not list(out.rglob("*.tmp"))
        assert not (out / "report.json").exists()


# ---- checked before any work: fast, no torch, no lava

@pytest.mark.parametrize(("change", "words"), [
    ({"compres": {}}, ("compres: unknown key", "calibration, compress")),
    ({"compress": {"bitz": 4}}, ("compress.bitz: unknown key", "bits")),
    ({"compress": {"bits": 9}}, ("compress.bits", "8", "9")),
    ({"compress": {"bits": 0}}, ("compress.bits", "1", "0")),
    ({"compress": {"bits": 3.5}}, ("compress.bits", "3.5")),
    ({"compress": {"sparsity": 1.0}}, ("compress.sparsity", "less than 1")),
    ({"compress": {"sparsity": -0.1}}, ("compress.sparsity", "greater than or equal to 0")),
    ({"compress": {"sparsity": float("nan")}}, ("compress.sparsity",)),
    ({"compress": {"method": "magic"}}, ("compress.method: unknown key", "pruning, refit")),
    ({"compress": {"pruning": "magic"}}, ("compress.pruning", "'auto'", "'magnitude'", "magic")),
    ({"compress": {"pattern": "2 of 4"}}, ("compress.pattern", "2 of 4")),
    ({"compress": {"layers": {"blocks.0": {"bits": 12}}}}, ("compress.layers.blocks.0.bits",)),
    ({"calibration": {"n_samples": 0}}, ("calibration.n_samples", "0")),
    ({"calibration": {"damping": 0}}, ("calibration.damping",)),
    ({"verify": {"lava_time_limit_s": -1}}, ("verify.lava_time_limit_s",)),
])
def test_a_bad_recipe_names_the_key(tmp_path, capsys, change, words, spikefit):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(change))
    code = spikefit("deploy", "--recipe", path, "--out", tmp_path / "out")
    expect_error(code, tmp_path / "out", capsys, str(path), *words)
    assert not (tmp_path / "out").exists()


def test_thresholds_per_channel_are_refused_before_any_work(tmp_path, capsys, spikefit):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"compress": {"match_rates": "channel"}}))
    code = spikefit("deploy", "--recipe", path, "--out", tmp_path / "out")
    expect_error(code, tmp_path / "out", capsys, "compress.match_rates", "one vThMant per layer",
                 "spikefit emulate")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2\n", "\x00\x01"])
def test_a_recipe_that_is_not_a_mapping_is_refused(tmp_path, capsys, text, spikefit):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    expect_error(spikefit("check", "--recipe", path), tmp_path / "out", capsys, str(path))


def test_a_missing_recipe_is_refused(tmp_path, capsys, spikefit):
    expect_error(spikefit("check", "--recipe", tmp_path / "no.yaml"), tmp_path, capsys, "no.yaml")


def test_an_unknown_target_lists_the_known_ones(tmp_path, capsys, spikefit):
    expect_error(spikefit("deploy", "--target", "loihi9"), tmp_path, capsys, "loihi9",
                 "loihi1, loihi2")


def test_a_target_without_a_needed_field_names_it(tmp_path, capsys, spikefit):
    content = yaml.safe_load((REPOSITORY / "hardware_targets" / "loihi1.yaml").read_text())
    del content["capacities"]["neurons_per_core"]
    path = tmp_path / "chip.yaml"
    path.write_text(yaml.safe_dump(content))
    expect_error(spikefit("check", "--target", path), tmp_path, capsys, "neurons_per_core")


def test_an_unknown_model_lists_the_bundled_ones(tmp_path, capsys, spikefit):
    expect_error(spikefit("check", "--model", "nope"), tmp_path, capsys, "nope", "nmnist_cnn",
                 "nmnist_mlp")


def test_a_missing_checkpoint_is_named(folder, tmp_path, capsys, deploy):
    (folder / "checkpoint.pt").unlink()
    expect_error(deploy(folder, tmp_path / "out"), tmp_path / "out", capsys, "checkpoint.pt",
                 "does not exist")


def test_missing_data_are_named_before_any_work(folder, tmp_path, capsys, deploy):
    (folder / "spikes.npz").unlink()
    expect_error(deploy(folder, tmp_path / "out"), tmp_path / "out", capsys, "spikes.npz")


# ---- found while working

@pytest.mark.slow
class TestBadInputFoundWhileWorking:
    def test_a_truncated_checkpoint(self, model, tmp_path, capsys, deploy):
        data = (model / "checkpoint.pt").read_bytes()
        (model / "checkpoint.pt").write_bytes(data[: len(data) // 2])
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "checkpoint.pt",
                     "not a readable state dict")

    def test_the_wrong_class(self, model, tmp_path, capsys, deploy, edit_yaml):
        edit_yaml(model / "model.yaml", network="network.py:Nothing")
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "Nothing")

    def test_a_checkpoint_of_another_class(self, model, tmp_path, capsys, deploy, edit_yaml):
        edit_yaml(model / "model.yaml", arguments={"n_hidden": 30})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "does not fit",
                     "blocks.0")

    def test_a_layer_kind_that_is_not_supported(self, model, tmp_path, capsys, deploy, fresh):
        import torch

        source = (model / "network.py").read_text().replace(
            'blocks.Dense(NEURON, n_hidden, 5, weight_scale=3)',
            'slayer.block.alif.Dense(dict(NEURON, threshold_step=0.1, '
            'threshold_decay=0.1, refractory_decay=0.1), n_hidden, 5)')
        (model / "network.py").write_text(source)
        module = fresh(model / "network.py", "Network", {})
        torch.save(module.state_dict(), model / "checkpoint.pt")
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "blocks.1",
                     "alif.Dense", "supported are cuba.Dense")

    def test_non_finite_weights(self, model, tmp_path, capsys, deploy):
        import torch

        state = torch.load(model / "checkpoint.pt", weights_only=True)
        state["blocks.1.synapse.weight"][0, 0] = float("nan")
        torch.save(state, model / "checkpoint.pt")
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys,
                     "blocks.1.synapse.weight", "non-finite")

    def test_spikes_of_the_wrong_shape(self, model, tmp_path, capsys, deploy, write_spikes):
        write_spikes(model / "spikes.npz", n_features=39)
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "39", "40",
                     "input_shape")

    def test_calibration_without_a_spike(self, model, tmp_path, capsys, deploy, write_spikes):
        write_spikes(model / "spikes.npz", rate=0.0)
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys,
                     "without a single spike")

    def test_more_samples_than_there_are(self, model, tmp_path, capsys, deploy, edit_yaml):
        edit_yaml(model / "recipe.yaml", calibration={"n_samples": 21})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "20", "21")

    def test_a_pattern_that_matches_no_layer(self, model, tmp_path, capsys, deploy, edit_yaml):
        edit_yaml(model / "recipe.yaml", compress={"layers": {"conv*": {"bits": 2}}})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys, "conv*",
                     "blocks.0, blocks.1")

    def test_a_network_that_does_not_fit(self, model, tmp_path, capsys, deploy):
        content = yaml.safe_load((REPOSITORY / "hardware_targets" / "loihi1.yaml").read_text())
        content["capacities"]["neurons_per_core"]["value"] = 3
        content["capacities"]["cores_per_chip"]["value"] = 8
        content["capacities"]["tile_columns"]["value"] = 2
        content["capacities"]["tile_rows"]["value"] = 1
        for prices in content["price_sets"].values():
            barrier = prices["times"]["barrier"]
            barrier["value"] = [point for point in barrier["value"] if point[0] <= 2]
        path = tmp_path / "chip.yaml"
        path.write_text(yaml.safe_dump(content))
        expect_error(deploy(model, tmp_path / "out", "--target", path), tmp_path / "out", capsys,
                     "10 cores, 2 more than the 8", "blocks.0 · 8 cores · decided by neurons")

    def test_an_output_folder_that_cannot_be_written(self, model, tmp_path, capsys, deploy):
        (tmp_path / "file").write_text("")
        out = tmp_path / "file" / "out"
        expect_error(deploy(model, out), out, capsys, str(out), "cannot be written")

    def test_lava_beyond_its_time_limit(self, model, tmp_path, capsys, deploy, edit_yaml):
        edit_yaml(model / "recipe.yaml", verify={"n_samples": 5, "lava_time_limit_s": 0.5})
        expect_error(deploy(model, tmp_path / "out"), tmp_path / "out", capsys,
                     "did not finish a step within", "lava_time_limit_s")

"""``spikefit targets`` lists, shows and checks targets, quickly, and says all that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from hardware_targets import Quantity, list_targets, load_target


def numbers(section: object) -> list[dict]:
    """Return every number in the plain data of a target."""
    if not isinstance(section, dict):
        return []
    if "source" in section:
        return [section]
    return [number for item in section.values() for number in numbers(item)]


def test_list_has_one_line_a_target_with_its_description_and_the_state_of_its_prices(
    capsys, spikefit
):
    assert spikefit("targets", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list_targets()
    for line in lines:
        assert load_target(line.split()[0]).description in line
    found = dict(zip(list_targets(), lines, strict=True))
    assert "invented: prices complete (12 events)" in found["example-chip"]
    assert "davies2018: prices incomplete, 3 of 12 missing (spike, message, barrier_step)" in (
        found["loihi1"])
    assert "none-published: no prices" in found["loihi2"]
    assert "GUESS" in found["loihi2-priced-as-loihi1"]


def test_list_as_json_names_what_is_unpriced_with_the_reason(capsys, spikefit):
    assert spikefit("targets", "list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list_targets()
    fit = rows["loihi1"]["price_sets"]["nahuku-fit"]
    assert not fit["is_complete"] and set(fit["unpriced"]) == {"synop_run_length", "barrier_step"}
    assert rows["example-chip"]["price_sets"]["invented"]["is_complete"]


@pytest.mark.parametrize("name", list_targets())
@pytest.mark.parametrize("width", ["80", "200"])
def test_show_prints_every_number_with_unit_status_and_source(
    name, width, capsys, spikefit, monkeypatch
):
    monkeypatch.setattr("pipeline.console_targets._FILE_WIDTH", int(width))
    assert spikefit("targets", "show", name) == 0
    printed = capsys.readouterr().out
    assert all(len(line) <= int(width) for line in printed.splitlines() if ": " not in line)
    text = "".join(printed.split())
    target = load_target(name)
    for number in numbers(target.model_dump(mode="json")):
        assert number["status"] in text and number["unit"] in text
        if width == "80":  # in columns, a long source is broken over lines
            assert "".join(number["source"].split()) in text
    for prices in target.price_sets.values():
        assert "".join(prices.description.split()) in text
    assert str(len(numbers(target.model_dump(mode="json")))) + "numbers" in text


def test_show_prints_values_as_one_reads_them(capsys, spikefit):
    spikefit("targets", "show", "loihi1")
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "1,048,576  bits" in lines["synapse_memory_bits_per_core"]
    assert "1, 2, 3, 4, 5, 6, 8  bits" in lines["weight_bits"]
    assert "none  synapses  not-found" in lines["fan_in_per_neuron"]
    assert "14,300 at 256, 16,200 at 768 chips (linear)  ns" in lines["multi_chip_barrier"]
    assert "yes" in lines["shares_conv_kernels"]


def test_show_as_json_is_the_target(capsys, spikefit):
    assert spikefit("targets", "show", "loihi2-compiler", "--json") == 0
    target = load_target("loihi2-compiler")
    assert json.loads(capsys.readouterr().out) == target.model_dump(mode="json")


def test_check_says_that_a_file_is_sound(tmp_path, capsys, spikefit):
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndescription: mine\nbase: loihi1\n")
    assert spikefit("targets", "check", path) == 0
    shown = capsys.readouterr().out
    n_numbers = len(numbers(load_target(path).model_dump(mode="json")))
    assert f"{path}: sound; {n_numbers} numbers: " in shown and "prices incomplete" in shown


def test_check_says_all_that_is_wrong_and_exits_with_2(tmp_path, capsys, spikefit):
    content = load_target("example-chip").model_dump(mode="json", exclude_none=False)
    del content["base"], content["neurons"]["decay_bits"]
    content["capacities"]["neurons_per_core"]["value"] = -1
    content["capacities"]["tile_rows"]["value"] = 3
    content["synapses"]["weight_bits"]["source"] = ""
    content["price_sets"]["invented"]["spike"]["unit"] = "nJ"
    content["price_sets"]["invented"]["times"]["neuron_update_idle"]["value"] = 7.0
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    assert spikefit("targets", "check", path) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown and str(path) in shown
    for place in ("neurons.decay_bits", "capacities.neurons_per_core.value",
                  "capacities.tile_rows", "synapses.weight_bits.source",
                  "price_sets.invented.spike.unit",
                  "price_sets.invented.times.neuron_update_idle.value"):
        assert f"\n  {place}: " in shown, place
    assert len(shown.strip().splitlines()) == 1 + 6


@pytest.mark.parametrize("verb", ["show", "check"])
def test_an_unknown_target_lists_the_shipped_ones(verb, capsys, spikefit):
    assert spikefit("targets", verb, "loihi9") == 2
    assert "loihi2-compiler" in capsys.readouterr().err


def test_a_target_with_markup_in_its_texts_is_printed_as_it_is(tmp_path, capsys, spikefit):
    path = tmp_path / "mine.yaml"
    path.write_text("name: '[bold]'\ndescription: '[/nothing] opened'\nbase: loihi1\n")
    for verb in ("show", "check"):
        assert spikefit("targets", verb, path) == 0
    assert "[bold] (builds on loihi1): [/nothing] opened" in capsys.readouterr().out


def test_targets_start_without_what_is_heavy():
    script = (
        "import sys\nfrom pipeline.cli import main\nsys.argv = ['spikefit', 'targets', 'list']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'lava', 'numba', 'numpy', 'scipy', 'h5py'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.DEVNULL)


def test_every_number_of_a_target_is_a_quantity():
    assert set(Quantity.model_fields) <= set(
        numbers(load_target("loihi1").model_dump(mode="json"))[0])

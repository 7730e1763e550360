"""The page on targets is current: every field, status, rule, target; its example loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

import hardware_targets
from hardware_targets import EventTimes, PriceSet, System, Target, list_targets, load_target
from hardware_targets.accumulation import ACCUMULATION_RULES
from hardware_targets.quantity import Quantity
from hardware_targets.rules import RULES
from hardware_targets.schema import Capacities, Neurons, Synapses
from hardware_targets.time_table import TimeTable

PACKAGE = Path(hardware_targets.__file__).parent
README = (PACKAGE / "README.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "": Target, "capacities": Capacities, "synapses": Synapses, "neurons": Neurons,
    "system": System, "price_sets": PriceSet, "times": EventTimes,
}


def table() -> dict[str, dict[str, tuple[str, str]]]:
    """Return unit and null of each field by section, as the page has them."""
    found: dict[str, dict[str, tuple[str, str]]] = {"": {}}
    section, lines = "", README[README.index("| field | unit |"):].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return found
        names, unit, null, meaning = (cell.strip() for cell in line.strip("|").split("|"))
        assert names.startswith("**") or meaning, line
        if names.startswith("**"):
            section = names.strip("*`")
            found[section] = {}
            continue
        found[section] |= {name: (unit, null) for name in re.findall(r"`(\w+)`", names)}
    raise AssertionError("the table does not end")


@pytest.mark.parametrize("section", SECTIONS)
def test_the_table_has_every_field_of_a_section_and_no_other(section: str) -> None:
    fields = set(SECTIONS[section].model_fields) - (set(SECTIONS) - {section})
    assert set(table()[section]) - {"without"} == fields


@pytest.mark.parametrize("section", [name for name in SECTIONS if name])
def test_the_table_has_the_unit_of_every_number_and_whether_it_may_be_null(section: str) -> None:
    target = load_target("example-chip")
    prices = target.price_sets["invented"]
    holder = {"price_sets": prices, "times": prices.times}.get(section) or getattr(target, section)
    for name, field in type(holder).model_fields.items():
        number = getattr(holder, name)
        if not isinstance(number, Quantity):
            continue
        assert field.annotation is not None and issubclass(field.annotation, Quantity)
        allows_null = type(None) in getattr(
            field.annotation.model_fields["value"].annotation, "__args__", ())
        assert table()[section][name] == (number.unit, "yes" if allows_null else "no"), name


def test_the_page_explains_every_status_target_rule_and_key_of_a_table() -> None:
    statuses = Quantity.model_fields["status"].annotation
    rows = [*statuses.__args__, *list_targets()]  # type: ignore[union-attr]
    rows += [rule.__name__ for rule in RULES]
    assert [name for name in rows if f"| `{name}` |" not in README] == []
    names = [rule.__name__ for rule in ACCUMULATION_RULES] + list(TimeTable.model_fields)
    assert [name for name in names if name not in README] == []


def examples() -> list[str]:
    return [text for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL) if "name:" in text]


def test_the_worked_example_loads_and_is_what_the_page_says(tmp_path: Path) -> None:
    (text,) = examples()
    path = tmp_path / "my_chip.yaml"
    path.write_text(text, encoding="utf-8")
    target, loihi1 = load_target(path), load_target("loihi1")
    assert target.name == "loihi1-long-delays" and target.base == "loihi1"
    assert target.capacities.neurons_per_core.value == 2 ** (13 - 6) == 128
    assert target.neurons.max_axonal_delay_steps.value == 62
    assert target.price_sets == loihi1.price_sets and target.synapses == loihi1.synapses


def test_the_lines_of_python_say_what_they_print() -> None:
    text = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names: dict[str, object] = {}
    exec(text, names)
    for line in text.splitlines():
        code, _, comment = line.partition("  # ")
        if comment and comment[0].isdigit():
            assert float(comment.split()[0]) == pytest.approx(eval(code, names), abs=0.05), line

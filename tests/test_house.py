"""The house stands as it is drawn: no circles, imports one way, and the picture shows the code as it is."""

from __future__ import annotations

from graphlib import CycleError

import pytest

from tools import house


def test_imports_point_one_way() -> None:
    edges = house.imports()
    assert house.upward(edges) == []  # rooms_of would have told of a circle
    assert {name for name, used in edges.items() if used & {"cli"}} == {"__main__"}
    assert {name for name, used in edges.items() if "series" in used} <= {"cli", "sweep_run"}


def test_wrong_ways_are_found() -> None:
    edges = house.imports()
    edges["sources"].add("models")
    assert house.upward(edges) == ["sources (sources) imports models (models)"]
    edges["models"].add("sources")
    with pytest.raises(CycleError):
        house.rooms_of(edges)


def test_a_module_without_a_room_goes_as_low_as_it_must() -> None:
    edges = house.imports() | {"attic": {"errors", "training"}}
    assert house.rooms_of(edges)["attic"] == "training"
    assert house.upward(edges) == []


def test_the_rooms_hold_no_module_that_is_gone() -> None:
    listed = [module for modules in house.ROOMS.values() for module in modules.split()]
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(house.imports())


def test_the_picture_is_of_this_code() -> None:
    now = {name: sorted(used) for name, used in house.imports().items()}
    assert house.recorded() == now, "run: make house"

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from geofence.compiled import NO_TIME, NOTHING
from geofence.containment import contains_one, find_containing, find_containing_batch
from geofence.definition import CircleShape, CorridorShape, CrossingRule, FenceDefinition, MultiPolygonShape
from geofence.fence_set import FenceSet
from geofence.pool import Pool, size_class
from tests.geofence.naive import polygon, some, star


def found_at(fences: FenceSet, tenant: str, x: float, y: float) -> set[str]:
    out = np.empty(64, np.int32)
    count = find_containing(fences.compiled, fences.tenant_number(tenant), x, y, out)
    assert sorted(out[:count]) == out[:count].tolist()
    return {fences.definition(slot).fence_id for slot in out[:count].tolist()}


def test_slots_stay_through_edits_and_are_given_again_after_deletion():
    fences = FenceSet()
    assert fences.put(polygon("a", [(0, 0), (1, 0), (0, 1)])) == 0
    assert fences.put(polygon("b", [(0, 0), (1, 0), (0, 1)])) == 1
    assert fences.put(polygon("a", [(5, 5), (6, 5), (5, 6)], version=2)) == 0
    assert fences.definition(0).version == 2
    assert fences.compiled.version[0] == 2
    assert found_at(fences, "acme", 0, 0) == {"b"}
    assert found_at(fences, "acme", 5, 5) == {"a"}
    assert fences.delete("acme", "a") == 0
    assert fences.delete("acme", "a") is None
    assert fences.slot_of("acme", "a") is None
    assert found_at(fences, "acme", 5, 5) == set()
    assert fences.compiled.kind[0] == NOTHING
    assert not contains_one(fences.compiled, 0, 5.0, 5.0)
    with pytest.raises(KeyError):
        fences.definition(0)
    assert fences.put(polygon("c", [(0, 0), (1, 0), (0, 1)])) == 0
    assert [fence.fence_id for fence in fences] == ["c", "b"]
    assert len(fences) == 2


def test_rule_reaches_the_kernels():
    fences = FenceSet()
    rule = CrossingRule(3, 4, 5, 6.0, 7.0)
    slot = fences.put(polygon("a", [(0, 0), (1, 0), (0, 1)], crossing=rule))
    compiled = fences.compiled
    assert (compiled.enter_fixes[slot], compiled.exit_fixes[slot], compiled.confirm_after_us[slot]) == (3, 4, 5)
    assert (compiled.exit_margin_m[slot], compiled.accuracy_cap_m[slot]) == (6.0, 7.0)
    fences.put(polygon("a", [(0, 0), (1, 0), (0, 1)]))
    assert fences.compiled.confirm_after_us[slot] == NO_TIME


def test_tenants_never_meet():
    fences = FenceSet()
    for tenant in ("acme", "globex", "initech"):
        fences.put(polygon("yard", [(0, 0), (1, 0), (0, 1)], tenant=tenant))
        fences.put(FenceDefinition(tenant, "round", "", CircleShape(0.0, 0.0, 1000.0)))
    numbers = np.array([fences.tenant_number(tenant) for tenant in ("acme", "globex", "initech", "nobody")], np.int32)
    offsets, slots = find_containing_batch(fences.compiled, numbers, np.zeros(4), np.zeros(4))
    assert offsets.tolist() == [0, 2, 4, 6, 6]
    for place, tenant in enumerate(("acme", "globex", "initech")):
        mine = [fences.definition(slot).tenant for slot in slots[offsets[place] : offsets[place + 1]].tolist()]
        assert mine == [tenant, tenant]
    for number in (-1, 10_000):
        assert find_containing(fences.compiled, number, 0.0, 0.0, np.empty(4, np.int32)) == 0


def test_a_tenant_s_tree_does_not_see_others_fences():
    """The cost of a look-up is its path and the entries on it: those of another tenant's thousand fences are not."""
    alone = FenceSet()
    alone.put(polygon("yard", [(0, 0), (1, 0), (0, 1)]))
    crowded = FenceSet()
    for number in range(some(1000)):
        crowded.put(polygon(str(number), [(0, 0), (1, 0), (0, 1)], tenant="globex"))
    crowded.put(polygon("yard", [(0, 0), (1, 0), (0, 1)]))
    assert path(alone, "acme", 0.1, 0.1) == path(crowded, "acme", 0.1, 0.1)


def path(fences: FenceSet, tenant: str, x: float, y: float) -> tuple[int, int]:
    """Nodes and entries that a look-up passes."""
    from geofence.compiled import CHILD, NEXT, SLOT
    from geofence.grid import BITS, finest_column, finest_row
    from geofence.lookup import place_in_node

    compiled = fences.compiled
    node, level, _, _ = compiled.tenant_root[fences.tenant_number(tenant)].tolist()
    shift = BITS - 2 * level
    nodes = entries = 0
    while node >= 0:
        nodes += 1
        shift -= 2
        place = place_in_node(node, finest_column(x), finest_row(y), shift)
        entries += int(compiled.cell[place, SLOT] >= 0)
        at = compiled.cell[place, NEXT]
        while at >= 0:
            entries += 1
            at = compiled.entry[at, NEXT]
        node = int(compiled.cell[place, CHILD])
    return nodes, entries


def test_everything_is_given_back():
    """Fences that come and go for long leave no nodes, no entries, and use no more memory than the most at one time."""
    random = np.random.default_rng(9)
    fences = FenceSet()
    sizes = []
    for _ in range(6):
        for number in range(some(200)):
            ring = star(random, *random.uniform(-80, 80, 2), 10 ** random.uniform(-4, 1), 20)
            fences.put(polygon(str(number), ring))
            fences.put(FenceDefinition("acme", f"round {number}", "", CircleShape(*random.uniform(-80, 80, 2), 5000.0)))
        for number in range(some(200)):
            fences.delete("acme", str(number))
            fences.delete("acme", f"round {number}")
        assert fences._index.used() == (0, 0)
        assert len(fences) == 0
        sizes.append(sum(array.nbytes for array in fences.compiled))
    assert sizes[-1] <= 2 * sizes[0]


SHAPES = [
    MultiPolygonShape(
        ((np.array([(0, 0), (4, 0), (4, 4), (0, 4)], float), np.array([(1, 1), (1, 2), (2, 2), (2, 1)], float)),)
    ),
    MultiPolygonShape(((np.array([(-1, -1), (8, -1), (3, 3)], float),),)),
    MultiPolygonShape(((np.array([(-170, -60), (170, -60), (170, 60), (-170, 60)], float),),)),
    MultiPolygonShape(((np.array([(3, 3), (3.001, 3), (3, 3.001)], float),),)),
    MultiPolygonShape(((np.array([(170, -5), (190, -5), (190, 5), (170, 5)], float),),)),
    CircleShape(2.0, 2.0, 150_000.0),
    CircleShape(180.0, 0.0, 300_000.0),
    CorridorShape(np.array([(0, 0), (4, 4), (4, 0)], float), 20_000.0),
]
POINTS = [
    (x, y) for x in (-180.0, -175.0, 0.0, 1.0, 1.5, 2.0, 3.0, 3.0005, 4.0, 179.0) for y in (0.0, 1.5, 3.0, 4.0, 50.0)
]
tenants = st.sampled_from(["acme", "globex"])
fence_ids = st.sampled_from(["a", "b", "c", "d", "e"])


class Edits(RuleBasedStateMachine):
    """Any sequence of edits leaves the set as one that was filled with what remains."""

    def __init__(self) -> None:
        super().__init__()
        self.fences = FenceSet()
        self.model: dict[tuple[str, str], int] = {}

    @rule(tenant=tenants, fence_id=fence_ids, shape=st.integers(0, len(SHAPES) - 1))
    def put(self, tenant, fence_id, shape):
        slot = self.fences.put(FenceDefinition(tenant, fence_id, "", SHAPES[shape]))
        assert self.fences.slot_of(tenant, fence_id) == slot
        self.model[tenant, fence_id] = shape

    @rule(tenant=tenants, fence_id=fence_ids)
    def delete(self, tenant, fence_id):
        assert (self.fences.delete(tenant, fence_id) is None) == ((tenant, fence_id) not in self.model)
        self.model.pop((tenant, fence_id), None)

    @invariant()
    def every_point_is_in_what_a_fence_alone_would_hold(self):
        for tenant in ("acme", "globex"):
            for x, y in POINTS:
                expected = {
                    fence_id
                    for (owner, fence_id), shape in self.model.items()
                    if owner == tenant and ALONE[shape, x, y]
                }
                assert found_at(self.fences, tenant, x, y) == expected


def alone(shape) -> dict[tuple[float, float], bool]:
    fences = FenceSet()
    fences.put(FenceDefinition("acme", "x", "", shape))
    return {point: bool(found_at(fences, "acme", *point)) for point in POINTS}


ALONE = {(number, *point): held for number, shape in enumerate(SHAPES) for point, held in alone(shape).items()}
TestEdits = Edits.TestCase
TestEdits.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_pool_gives_blocks_again():
    pool = Pool(np.int32)
    first = pool.put(np.arange(10))
    second = pool.put(np.arange(5))
    assert pool.rows[first : first + 10].tolist() == list(range(10))
    pool.give_back(first, 10)
    assert pool.take(9) == first
    assert pool.rows[second : second + 5].tolist() == list(range(5))
    assert [size_class(count) for count in (0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 17, 100)] == [
        1,
        1,
        2,
        3,
        4,
        6,
        6,
        8,
        12,
        16,
        24,
        128,
    ]

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.messages import Messages, from_pairs
from ingest.topics.table import UNKNOWN, TopicTable


def messages(topics: list[bytes]) -> Messages:
    return from_pairs([(topic, b"payload") for topic in topics], 0, "mqtt")


operations = st.one_of(
    st.tuples(st.just("add"), st.binary(max_size=20), st.integers(0, 2**32 - 1), st.integers(0, 255)),
    st.tuples(st.just("forget"), st.binary(max_size=20), st.just(0), st.just(0)),
)


@given(st.lists(operations, max_size=60), st.lists(st.binary(max_size=20), max_size=20))
@settings(max_examples=150)
def test_does_as_a_dict(done: list[tuple[str, bytes, int, int]], asked: list[bytes]) -> None:
    table, naive = TopicTable(), dict[bytes, tuple[int, int]]()
    for operation, topic, device, decoder in done:
        if operation == "add":
            table.add(topic, device, decoder)
            naive[topic] = (device, decoder)
        else:
            table.forget(topic)
            naive.pop(topic, None)
    asked = asked + [topic for _, topic, _, _ in done]
    found = table.resolve(messages(asked))
    assert [entry != UNKNOWN for entry in found.entry] == [topic in naive for topic in asked]
    assert list(zip(found.device.tolist(), found.decoder.tolist(), strict=True)) == [
        naive.get(topic, (0, 0)) for topic in asked
    ]


def test_ten_thousand_topics_through_every_growth() -> None:
    table = TopicTable()
    topics = [b"drover/v1/tenant-%d/device-%d/position" % (i % 7, i) for i in range(10_000)]
    entries = [table.add(topic, i, i % 250) for i, topic in enumerate(topics)]
    assert entries == list(range(10_000))
    found = table.resolve(messages([*topics, b"drover/v1/tenant-0/device-10000/position"]))
    assert found.entry.tolist() == [*range(10_000), UNKNOWN]
    assert found.device[:-1].tolist() == list(range(10_000))
    assert found.decoder[:-1].tolist() == [i % 250 for i in range(10_000)]


def test_topics_that_differ_only_at_one_end_or_in_length() -> None:
    table = TopicTable()
    topics = [b"", b"\x00", b"\x00\x00", b"a" * 8, b"a" * 9, b"a" * 16, b"b" + b"a" * 15, b"a" * 15 + b"b"]
    for i, topic in enumerate(topics):
        table.add(topic, i, 1)
    assert table.resolve(messages(topics)).device.tolist() == list(range(len(topics)))


def test_hashes_of_like_topics_spread() -> None:
    table = TopicTable()
    for i in range(1000):
        table.add(b"drover/v1/acme/truck-%04d/position" % i, i, 1)
    arrays = table._table
    places = arrays.hashes[:1000] & np.uint64(len(arrays.slots) - 1)
    # Of 1000 balls in 2048 bins, 791 bins are expected to be hit.
    assert 740 < len(np.unique(places)) < 840


def test_an_equal_hash_is_not_an_equal_topic() -> None:
    table = TopicTable()
    table.add(b"one topic", 1, 1)
    table.add(b"two topic", 2, 1)
    # As if both hashed alike, and the wrong one came first: the bytes still decide.
    arrays = table._table
    arrays.hashes[0] = arrays.hashes[1]
    place = int(arrays.hashes[1] & np.uint64(len(arrays.slots) - 1))
    arrays.slots[:] = -1
    arrays.slots[place] = 0
    arrays.slots[(place + 1) % len(arrays.slots)] = 1
    assert table.resolve(messages([b"two topic"])).device.tolist() == [2]


def test_what_was_resolved_stays_when_the_table_changes() -> None:
    table = TopicTable()
    table.add(b"t", 5, 2)
    found = table.resolve(messages([b"t"]))
    table.add(b"t", 6, 3)
    assert (found.device.tolist(), found.decoder.tolist()) == ([5], [2])


def test_forgets_a_device_and_learns_it_again() -> None:
    table = TopicTable()
    for topic, device in ((b"a", 1), (b"b", 2), (b"c", 1)):
        table.add(topic, device, 1)
    table.forget_device(1)
    assert table.resolve(messages([b"a", b"b", b"c"])).entry.tolist() == [UNKNOWN, 1, UNKNOWN]
    table.add(b"a", 9, 1)
    assert table.resolve(messages([b"a"])).device.tolist() == [9]
    assert len(table) == 3


def test_is_bounded() -> None:
    table = TopicTable(max_topics=100)
    for i in range(950):
        table.resolve(messages([b"%d" % i]))
        table.add(b"%d" % i, i, 1)
        assert len(table) <= 101
    assert table.resolve(messages([b"949", b"1"])).device.tolist() == [949, 0]

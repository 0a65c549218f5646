import gc
import weakref

from todoku.apiserver.memory import GROWTH_BYTES, Memory, of_process


class Process:
    def __init__(self):
        self.size = 100 << 20
        self.garbage = 0
        self.freed = 0

    def resident_bytes(self):
        return self.size + self.garbage

    def free(self):
        self.garbage = 0
        self.freed += 1


def test_only_growth_is_worth_a_look_at_all_objects():
    process = Process()
    memory = Memory(process.resident_bytes, process.free)
    process.garbage = GROWTH_BYTES - 1
    memory.look()
    assert process.freed == 0
    process.garbage = GROWTH_BYTES
    memory.look()
    memory.look()
    assert (process.freed, process.garbage) == (1, 0)


def test_what_is_in_use_is_not_looked_through_again_and_again():
    process = Process()
    memory = Memory(process.resident_bytes, process.free)
    process.size += GROWTH_BYTES
    for _ in range(5):
        memory.look()
    assert process.freed == 1


def test_after_shrinking_growth_counts_from_below():
    process = Process()
    process.size += GROWTH_BYTES
    memory = Memory(process.resident_bytes, process.free)
    process.size -= GROWTH_BYTES
    memory.look()
    process.garbage = GROWTH_BYTES
    memory.look()
    assert process.freed == 1


class Node:
    pass


def test_cycles_go_and_the_process_shrinks():
    memory = of_process()
    node = Node()
    # Beyond what the C library takes from its own store, and written to: the process really grows by it.
    node.itself, node.load = node, b"x" * (2 * GROWTH_BYTES)
    seen = weakref.ref(node)
    del node
    gc.disable()
    try:
        memory.look()
    finally:
        gc.enable()
    assert seen() is None

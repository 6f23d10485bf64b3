"""Processes that fork: each sends what it called itself, once, and none hangs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.books import Books
from support.programs import PROTOCOLS, environment
from support.stage import Stage

from llm_cache_otel.cli.receiver import OtlpReceiver
from llm_cache_otel.cli.simulate import SimulatedProvider

BEGINNING = """
import os, sys, threading, time
from support.caller import Caller, request_for, tally
from support.forking import fork, join
from llm_cache_otel import flush

caller = Caller()

def call(prompt):  # multiprocessing hands on its name
    caller(prompt)
"""

# What a parent and its children do after that. Some prompts the parent has cached before.
FAMILIES = {
    "workers that are recycled": """
caller(*range(3))
assert flush()
alive = []
for worker in range(12):
    if len(alive) == 4:
        join(alive.pop(0))
    caller(f"parent {worker}")
    alive.append(fork(caller, *range(6), worker))
join(*alive)
caller("the parent's last")
""",
    "children and theirs": """
def child(number):
    caller(0, number)
    grandchild = fork(caller, 0, number, "grand")
    caller("child", "child")
    join(grandchild)
caller(0)
join(*[fork(child, number) for number in range(3)])
caller(0)
""",
    "a child that never calls": """
caller(0)
join(fork(lambda: None), fork(lambda: fork(caller, 0, 1)))
""",
    "children that end at once, having flushed": """
def child():
    caller(0, 1)
    assert flush()
    os._exit(0)
caller(0)
join(fork(child), fork(child))
""",
    "multiprocessing.Process": """
import multiprocessing
caller(0, 1)
context = multiprocessing.get_context("fork")
children = [context.Process(target=caller, args=range(number + 2)) for number in range(4)]
for child in children:
    child.start()
    caller(child.name)
for child in children:
    child.join()
    assert child.exitcode == 0
""",
    "multiprocessing.Pool": """
import multiprocessing
caller(0, 1)
pool = multiprocessing.get_context("fork").Pool(3, maxtasksperchild=3)
pool.map(call, range(20), chunksize=1)
caller(2)
pool.close()
pool.join()
""",
    "ProcessPoolExecutor": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
caller(0, 1)
with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
    list(pool.map(call, range(20)))
caller(2)
""",
    # In the child the call that was in flight is none of its own, whether it comes back from it
    # or ends in the middle.
    "a fork in a validator": """
from pydantic import field_validator
from support.models import User

parent, children = os.getpid(), []

class Forking(User):
    @field_validator("name")
    @classmethod
    def fork(cls, name):
        children.append(os.fork())
        if not children[-1]:
            caller("a child's own", "a child's own")
            if len(children) == 1:
                sys.exit()
        return name

caller(0)
for prompt in "ends", "returns":
    caller.client.create(**request_for(prompt) | {"response_model": Forking})
    if os.getpid() != parent:
        caller("a child's last")
        sys.exit()
    tally("call")
join(*children)
""",
}
OVER_HTTP_AS_WELL = ["workers that are recycled", "multiprocessing.Pool"]


@pytest.fixture
def books(provider: SimulatedProvider, receiver: OtlpReceiver, tmp_path: Path) -> Books:
    return Books(provider, receiver, tmp_path)


@pytest.mark.parametrize(
    ("family", "protocol"),
    [(family, "grpc") for family in FAMILIES]
    + [(family, "http/protobuf") for family in OVER_HTTP_AS_WELL],
)
def test_every_process_sends_its_own_calls_once(
    family: str,
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    books: Books,
    stage: Stage,
) -> None:
    # Exports happen all the time, and so do forks while one is under way.
    delays = {"OTEL_BSP_SCHEDULE_DELAY": 20, "OTEL_METRIC_EXPORT_INTERVAL": 200}
    variables = environment(provider, receiver, protocol, TALLY=books.tally, **delays)
    _, errors = stage.run(BEGINNING + FAMILIES[family], variables, books.tally.parent)
    books.check()
    assert "Traceback" not in errors


def test_an_instance_id_of_the_users_is_made_unique(
    provider: SimulatedProvider, receiver: OtlpReceiver, books: Books, stage: Stage
) -> None:
    given = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=till-7"}
    variables = environment(provider, receiver, TALLY=books.tally, **given)
    stage.run(BEGINNING + FAMILIES["children and theirs"], variables, books.tally.parent)
    books.check(given_instance="till-7")


# The children's client is one of their own: of the threads' a fork may catch the host's own locks.
CALLING_ALL_THE_TIME = """
caller, childrens = Caller(alone=True), Caller(alone=True)
over = threading.Event()

def call(thread):
    number = 0
    while not over.is_set():
        caller(f"{thread} {number // 4}")
        number += 1

threads = [threading.Thread(target=call, args=(thread,), daemon=True) for thread in range(2)]
for thread in threads:
    thread.start()
alive = []
for child in range(24):
    if len(alive) == 4:
        join(alive.pop(0))
    alive.append(fork(childrens, "child", "child", child))
join(*alive)
over.set()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_forks_in_the_middle_of_other_threads_calls(
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    books: Books,
    stage: Stage,
) -> None:
    delays = {"OTEL_BSP_SCHEDULE_DELAY": 5, "OTEL_METRIC_EXPORT_INTERVAL": 200}
    # More than the threads can fill: this is about forks, not about what is dropped.
    queue = {"OTEL_BSP_MAX_QUEUE_SIZE": 100_000, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 50}
    variables = environment(provider, receiver, protocol, TALLY=books.tally, **delays, **queue)
    _, errors = stage.run(BEGINNING + CALLING_ALL_THE_TIME, variables, books.tally.parent)
    assert "Traceback" not in errors
    books.check()


# Each round in a process in which nothing has been called before, forked ever later into its first
# call: while that imports, reads variables, opens connections and starts threads.
WHILE_THE_FIRST_CALL_BUILDS = """
def first_call(delay):
    thread = threading.Thread(target=caller, args=("first",))
    thread.start()
    time.sleep(delay)
    child = fork(childrens, "child", "child")
    thread.join()
    join(child)

caller, childrens = Caller(alone=True), Caller(alone=True)
alive = []
for milliseconds in range(0, 40, 2):
    if len(alive) == 2:
        join(alive.pop(0))
    alive.append(fork(first_call, milliseconds / 1000))
join(*alive)
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_forks_in_the_middle_of_another_threads_first_call(
    protocol: str,
    provider: SimulatedProvider,
    receiver: OtlpReceiver,
    books: Books,
    stage: Stage,
) -> None:
    variables = environment(provider, receiver, protocol, TALLY=books.tally)
    _, errors = stage.run(BEGINNING + WHILE_THE_FIRST_CALL_BUILDS, variables, books.tally.parent)
    assert "Traceback" not in errors
    books.check()

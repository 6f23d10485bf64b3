"""Prompts as people write them, and what makes them differ each time without anybody meaning it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

_WORDS = [
    "account",
    "agent",
    "answer",
    "balance",
    "basket",
    "booking",
    "branch",
    "bundle",
    "charge",
    "claim",
    "client",
    "contract",
    "courier",
    "credit",
    "customer",
    "delay",
    "delivery",
    "deposit",
    "desk",
    "device",
    "discount",
    "driver",
    "email",
    "estimate",
    "exchange",
    "fee",
    "file",
    "filter",
    "form",
    "gift",
    "guest",
    "handle",
    "holder",
    "home",
    "hour",
    "house",
    "invoice",
    "item",
    "key",
    "label",
    "ledger",
    "letter",
    "limit",
    "list",
    "loan",
    "locker",
    "mail",
    "manager",
    "market",
    "member",
    "method",
    "notice",
    "offer",
    "office",
    "order",
    "owner",
    "package",
    "parcel",
    "partner",
    "payment",
    "period",
    "phone",
    "plan",
    "policy",
    "portal",
    "price",
    "product",
    "profile",
    "proof",
    "query",
    "quote",
    "rate",
    "reason",
    "receipt",
    "record",
    "refund",
    "region",
    "reply",
    "report",
    "request",
    "return",
    "review",
    "risk",
    "route",
    "rule",
    "sale",
    "scheme",
    "seller",
    "service",
    "setting",
    "share",
    "shelf",
    "shop",
    "signal",
    "source",
    "stock",
    "store",
    "supply",
    "support",
    "target",
    "tax",
    "team",
    "term",
    "ticket",
    "title",
    "total",
    "track",
    "transfer",
    "unit",
    "update",
    "user",
    "value",
    "vendor",
    "visit",
    "voucher",
    "warehouse",
    "week",
    "window",
    "worker",
    "zone",
]


def prose(seed: int, sentences: int) -> str:
    rng = random.Random(seed)
    return " ".join(
        " ".join(rng.choices(_WORDS, k=rng.randrange(6, 14))).capitalize() + "."
        for _ in range(sentences)
    )


GUIDE = prose(1, 160)
"""Some 2,500 tokens."""

_DOCUMENTS = [f"Document {number}.\n{prose(100 + number, 12)}\n\n" for number in range(12)]


@dataclass(frozen=True)
class Prompt:
    """A system prompt, and what the user asks."""

    system: str
    user: str


def _time_first(turn: int) -> Prompt:
    return Prompt(f"The time is 2026-11-22T10:0{turn}:17.{turn}31Z. {GUIDE}", "Who is Ada?")


def _time_in_words(turn: int) -> Prompt:
    day = ("Monday the ninth", "Tuesday the tenth", "Wednesday the eleventh")[turn]
    return Prompt(f"Today is {day} of November. {GUIDE}", "Who is Ada?")


def _request_id(turn: int) -> Prompt:
    half = GUIDE.index(". ", 600) + 2
    name = f"req-{random.Random(turn).getrandbits(64):016x}"
    return Prompt(f"{GUIDE[:half]}(request {name}) {GUIDE[half:]}", "Who is Ada?")


def _user_first(turn: int) -> Prompt:
    return Prompt(f"You speak to {('Ada', 'Bartholomew', 'Cy')[turn]}. {GUIDE}", "Who is Ada?")


def _white_space(turn: int) -> Prompt:
    return Prompt(f"{' ' * turn}You answer in few words. {GUIDE}", "Who is Ada?")


def _shuffled(turn: int) -> Prompt:
    documents = _DOCUMENTS.copy()
    random.Random(turn).shuffle(documents)
    return Prompt("Answer from the documents.", "".join(documents) + "Who is Ada?")


def _one_document_more(turn: int) -> Prompt:
    documents = _DOCUMENTS[:11]
    if turn:
        documents.insert(1, f"Document {turn} more.\n{prose(900 + turn, 12)}\n\n")
    return Prompt("Answer from the documents.", "".join(documents) + "Who is Ada?")


VOLATILE: dict[str, Callable[[int], Prompt]] = {
    "a time first": _time_first,
    "a day in words first": _time_in_words,
    "a request's id in the middle": _request_id,
    "the user's name first": _user_first,
    "white space": _white_space,
    "retrieved documents in another order": _shuffled,
    "one document more": _one_document_more,
}


def first_difference(one: str, other: str) -> int:
    for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return place
    return min(len(one), len(other))

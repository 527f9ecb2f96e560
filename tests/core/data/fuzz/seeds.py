"""Good small files of every kind and shape that the importer knows, for mutations to spoil."""

import functools
import io
import json
from collections.abc import Mapping
from typing import Any

_TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Wie heißt du? 東京 🎉"},
    {"role": "assistant", "content": "Ich heiße “Anna”."},
    {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
    {"role": "assistant", "content": [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "Now."}]},
]
_CALLS = [
    {"from": "human", "value": "What is the weather?"},
    {"from": "function_call", "value": '{"name": "weather", "arguments": {"place": "Oslo", "days": 2}}'},
    {"from": "observation", "value": '{"degrees": -3.5}'},
    {"from": "gpt", "value": "It is cold."},
]
_TOOLS = [{"name": "weather", "description": "Asks", "parameters": {"type": "object", "properties": {}}}]

SHAPES: Mapping[str, list[dict[str, Any]]] = {
    "alpaca": [
        {"instruction": f"Say {n}", "input": "" if n % 2 else "quickly", "output": f"{n}!", "history": [["a", "b"]]}
        for n in range(6)
    ],
    "messages": [{"messages": _TURNS, "id": n} for n in range(5)],
    "sharegpt": [{"conversations": _CALLS, "tools": json.dumps(_TOOLS), "system": "Help."} for _ in range(5)],
    "prompt": [{"prompt": f"Grüße {n}, “x”", "completion": f"a\nb\t{n}"} for n in range(6)],
    "question": [{"question": f"{n} + 1?", "answer": n + 1} for n in range(6)],
    "pairs": [{"prompt": "Why?", "chosen": f"Because {n}.", "rejected": "No."} for n in range(5)],
    "feedback": [{"messages": _TURNS, "label": bool(n % 2)} for n in range(5)],
    "text": [{"text": f"Running text {n}: naïve café — 東京.\n\nMore."} for n in range(5)],
}
"""Rows of each shape of record."""


@functools.cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Name and content of every good file."""
    found: list[tuple[str, bytes]] = []
    for shape, rows in SHAPES.items():
        lines = [json.dumps(row, ensure_ascii=shape == "pairs") for row in rows]
        found.append((f"{shape}.jsonl", "\n".join(lines).encode() + b"\n"))
        found.append((f"{shape}.json", json.dumps(rows, indent=1, ensure_ascii=False).encode()))
        found.append((f"{shape}-inside.json", json.dumps({"version": 1, "meta": {"a": [1]}, "data": rows}).encode()))
        found.append((f"{shape}.parquet", _parquet(rows)))
        found.append((f"{shape}.arrow", _arrow(rows)))
    for shape in ("alpaca", "prompt", "question", "pairs", "text"):
        for ending, mark in (("csv", ","), ("tsv", "\t"), ("csv", ";")):
            found.append((f"{shape}.{ending}", _table(SHAPES[shape], mark)))
    prose = "# Title\n\nFirst paragraph,\nof two lines.\n\n---\n\nÜber naïve cafés – “so”.\n\n---\nEnd.\n"
    found += [("prose.txt", prose.encode()), ("prose.md", prose.encode("cp1252"))]
    found.append(("chat.txt", b"Human: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant: So long\n"))
    return tuple(found)


def _table(rows: list[dict[str, Any]], mark: str) -> bytes:
    import csv

    whole = io.StringIO()
    writer = csv.DictWriter(whole, list(rows[0]), delimiter=mark)
    writer.writeheader()
    writer.writerows(rows)
    return whole.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow.parquet as pq

    whole = io.BytesIO()
    pq.write_table(_columns(rows), whole, compression="snappy" if len(rows) % 2 else "zstd")
    return whole.getvalue()


def _arrow(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa

    table = _columns(rows)
    whole = io.BytesIO()
    make = pa.ipc.new_file if len(rows) % 2 else pa.ipc.new_stream
    with make(whole, table.schema) as writer:
        writer.write_table(table)
    return whole.getvalue()


def _columns(rows: list[dict[str, Any]]) -> Any:
    """A table; what has no type that a column could have is written as JSON text."""
    import pyarrow as pa

    try:
        return pa.Table.from_pylist(rows)
    except (pa.ArrowException, TypeError):
        flat = [{key: item if isinstance(item, str) else json.dumps(item) for key, item in row.items()} for row in rows]
        return pa.Table.from_pylist(flat)

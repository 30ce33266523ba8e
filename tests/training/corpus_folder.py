"""Builds a small mixture table as codeft_assets would, without importing it."""

import hashlib
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("document_id", "source", "domain", "format", "language", "text", "split")]
    + [("messages", MESSAGES), ("epochs", pa.uint8()), ("annealing_epochs", pa.uint8())]
)
LINES = [
    "def add(a, b):\n    return a + b\n",
    "for i in range(10):\n    print(i * i)\n",
    "The sum of two even numbers is even.\n",
    "class Stack:\n    def __init__(self):\n        self.items = []\n",
    "If x = 3 then x + 4 = 7.\n",
    "import math\n\nprint(math.sqrt(2))\n",
]


def plain(number, *, lines=12, split="train", epochs=1, annealing=0, domain="code"):
    rng = random.Random(number)
    text = "".join(rng.choice(LINES) for _ in range(lines))
    return row(number, text, None, split, epochs, domain, annealing)


def chat(number, question, answer, *, split="train", epochs=1):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return row(number, f"{question}\n\n{answer}", messages, split, epochs, "reasoning")


def row(number, text, messages, split, epochs, domain, annealing=0):
    return {
        "document_id": f"{number:032x}",
        "source": "chat" if messages else "plain",
        "domain": domain,
        "format": "raw",
        "language": "python",
        "text": text,
        "split": split,
        "messages": messages,
        "epochs": epochs,
        "annealing_epochs": annealing,
    }


def default_rows():
    rows = [plain(i, lines=6 + i % 20, domain="code" if i % 3 else "math") for i in range(60)]
    rows += [chat(100 + i, f"What is {i} + {i}?", f"It is {2 * i}, since {i} + {i} = {2 * i}.") for i in range(20)]
    rows += [plain(200 + i, split="validation") for i in range(4)]
    return [*rows, chat(300, "What is 7 * 6?", "It is 42.", split="validation")]


def write_corpus(folder, rows):
    (folder / "shards").mkdir(parents=True, exist_ok=True)
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    shards = []
    for number, half in enumerate(halves):
        path = f"shards/{number}.parquet"
        pq.write_table(pa.Table.from_pylist(half, schema=SCHEMA), folder / path)
        shards.append({"path": path, "num_rows": len(half), "content_hash": "", "unit": str(number)})
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:32]
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "content_hash": digest, "shards": shards}))
    return folder

"""
Turns the public originals into the columns that `make bench-routing` reads.

    git clone https://github.com/lm-sys/RouteLLM     (commit 0b64fda; Apache-2.0)
    git clone https://github.com/ulab-uiuc/LLMRouter (commit 4e7a796; MIT)
    python -m scripts.routing_data --routellm RouteLLM --llmrouter LLMRouter --out FOLDER

The questions are those of MMLU, GSM8K, MATH, MBPP, ARC, OpenBookQA, CommonsenseQA, TriviaQA,
CommonGen and the logic grids of AgentVerse, with their own licences. Nothing of it is kept in this
repository. Rows of questions that both sources share are kept once.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

RESPONSES = "routellm/evals/mmlu/responses"
SCORES = "data/dcrouter_preprocessed/train.json"
EXAMPLES = "data/example_data"  # *.jsonl name each query's task, *.json each model's price
PAIR = ("mixtral_8x7b", "gpt_4_1106")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--routellm", type=Path, required=True)
    parser.add_argument("--llmrouter", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    pairs = list(_pairs(given.routellm / RESPONSES))
    _write(given.out / "mmlu_pair.csv", ("id", "prompt", "domain", *PAIR), pairs)
    seen = {_id(str(row[1])) for row in pairs}
    scores = json.loads((given.llmrouter / SCORES).read_text("utf-8"))
    models = list(scores[0]["scores"])
    rows = list(_scores(scores, models, _tasks(given.llmrouter / EXAMPLES), seen))
    _write(given.out / "multi9.csv", ("id", "prompt", "task", *models), rows)
    prices = _prices(given.llmrouter / EXAMPLES, models)
    (given.out / "multi9_prices.json").write_text(json.dumps(prices, indent=1), "utf-8")
    print(f"{len(pairs)} rows of two models, {len(rows)} rows of {len(models)}")


def _pairs(folder: Path) -> Iterator[tuple[object, ...]]:
    seen: set[str] = set()
    for path in sorted(folder.glob("mmlu_*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for prompt, weak, strong in list(csv.reader(file))[1:]:
                if (row_id := _id(prompt)) not in seen:
                    seen.add(row_id)
                    subject = path.stem.removeprefix("mmlu_")
                    yield row_id, prompt, subject, int(weak == "True"), int(strong == "True")


def _scores(
    found: Sequence[Mapping[str, Any]],
    models: Sequence[str],
    tasks: Mapping[str, str],
    seen: set[str],
) -> Iterator[tuple[object, ...]]:
    for one in found:
        prompt = one["question"]
        if (row_id := _id(prompt)) not in seen and all(m in one["scores"] for m in models):
            seen.add(row_id)
            task = tasks.get(prompt, f"cluster-{one['cluster_id']}")
            yield row_id, prompt, task, *(one["scores"][model] for model in models)


def _tasks(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            one = json.loads(line)
            if "query" in one and "task_name" in one:
                found[one["query"]] = one["task_name"]
    return found


def _prices(folder: Path, models: Sequence[str]) -> dict[str, Any]:
    for path in sorted(folder.rglob("*.json")):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict) and all(model in found for model in models):
            fields = ("size", "input_price", "output_price")
            return {model: {name: found[model][name] for name in fields} for model in models}
    raise SystemExit(f"no file in {folder} lists the price of every model")


def _id(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:12]


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main()

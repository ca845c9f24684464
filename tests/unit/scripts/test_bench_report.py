"""The performance page says what was measured, and which promise was missed."""

from dataclasses import replace

from scripts.bench import cases
from scripts.bench_report import Memory, Report, Row, promises, render


def row(name, concurrent, *, per_s=1_000.0, p50_ms=1.0):
    return Row(name, concurrent, 100, per_s, p50_ms, 2 * p50_ms, 3 * p50_ms)


def a_report(**changed):
    report = Report(
        rows=[
            row("GET /routing/metrics", 10),
            row("chat, sandbox alone", 1, p50_ms=0.5),
            row("chat", 1, p50_ms=3.0),
            row("chat, sandbox alone", 64, p50_ms=8.0),
            row("chat", 64, per_s=700, p50_ms=80.0),
        ],
        memory=[Memory(0, 90, 90), Memory(10_000, 100, 100), Memory(50_000, 105, 100)],
        start_s=8.0,
    )
    return replace(report, **changed)


def missed(report):
    return [promise.what.split(",")[0] for promise in promises(report) if not promise.kept]


def test_a_fast_machine_keeps_every_promise():
    assert [] == missed(a_report())


def test_each_promise_can_be_missed():
    slow = a_report(
        rows=[
            row("GET /routing/metrics", 10, per_s=449, p50_ms=10.0),
            row("chat, sandbox alone", 1, p50_ms=0.5),
            row("chat", 1, p50_ms=5.6),
            row("chat", 64, per_s=599),
        ],
        memory=[Memory(0, 90, 90), Memory(10_000, 100, 100), Memory(50_000, 111, 151)],
        start_s=25.1,
    )

    assert len(promises(slow)) == len(missed(slow)) == 7


def test_memory_that_was_not_measured_is_not_judged():
    assert len(promises(a_report())) - 2 == len(promises(a_report(memory=[])))


def test_the_page_shows_every_row_and_its_ratio():
    page = render(a_report(), {"machine": "a box"})

    assert "| chat | 64 | 100 | 700 | 80.00 | 160.00 | 240.00 | 10.0 |" in page
    assert "| machine | a box |" in page
    assert "| 50,000 | 105 | 100 |" in page
    assert "**missed**" not in page


def test_every_case_the_page_judges_is_measured():
    measured = {(case.name, case.concurrent) for case in cases(1)}

    assert {(r.name, r.concurrent) for r in a_report().rows} <= measured

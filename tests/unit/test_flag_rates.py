"""How often flags come on experts' labels: each case counts once, warnings first."""

from collections import Counter

from myoscope.lab.flags import count, results_page
from myoscope.measure.results import Flag


def _flag(code: str, level: str) -> Flag:
    return Flag.model_validate({"code": code, "level": level, "series": "cine", "message": "x"})


def test_rates_of_flags() -> None:
    counts: dict = {}
    for i in range(20):
        flags = [_flag("often", "info")] * 2
        flags += [_flag("rare", "warning")] * (i == 0) + [_flag("crying_wolf", "warning")] * (i < 2)
        count(counts, "acdc" if i < 10 else "myops", flags)
    page = results_page(Counter(acdc=10, myops=10), counts)
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert lines == [
        "| `crying_wolf` | warning | 2 | 0 | 2 | 10.0 % |",
        "| `rare` | warning | 1 | 0 | 1 | 5.0 % |",
        "| `often` | info | 10 | 10 | 20 | 100.0 % |",
    ]
    assert "Warnings on more than 5 %: `crying_wolf`." in page

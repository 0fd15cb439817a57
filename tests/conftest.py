"""Where MYOSCOPE_NO_SKIP=1 is set, as in CI, a skipped test is a failed one: what is not run proves nothing."""

import os
from collections.abc import Generator
from typing import Any

import pytest

NO_SKIP = os.environ.get("MYOSCOPE_NO_SKIP", "") not in ("", "0")


def _forbid_skip(report: Any) -> None:
    if NO_SKIP and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: not run, and MYOSCOPE_NO_SKIP is set. {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture(scope="session")
def html():
    """The report of a made-up study."""
    from myoscope.report import render
    from report_pages import make_measurements, make_study

    study, labels = make_study()
    return render(study, labels, make_measurements())


@pytest.fixture(scope="session")
def page(html):
    """The same report, taken apart."""
    from report_pages import Page

    return Page(html)

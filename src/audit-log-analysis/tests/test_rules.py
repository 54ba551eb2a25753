"""Every rule of the pack does what its tests say."""

from pathlib import Path

import pytest

import audit_analysis
from audit_analysis.ruletools import ruletest
from audit_analysis.ruletools.ruletest import RuleTest
from audit_analysis.sigma import documents
from audit_analysis.sigma.load import load
from audit_analysis.sigma.rule import RuleSet

PACK = Path(audit_analysis.__file__).parent / "rules"


def by_file(test: RuleTest) -> str:
    return f"{test.path.parent.name}/{test.path.name.removesuffix(documents.TESTS)}: {test.name}"


@pytest.fixture(scope="module")
def rules() -> RuleSet:
    return load([PACK], lateness=900_000)


@pytest.mark.parametrize("test", ruletest.collect([PACK]), ids=by_file)
def test_rule(test: RuleTest, rules: RuleSet) -> None:
    assert test.failure(rules) is None


@pytest.mark.parametrize(
    "path", documents.files([PACK]), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_rule_file_has_tests_that_fire_and_tests_that_do_not(path: Path) -> None:
    tests = ruletest.collect([path.with_name(path.stem + documents.TESTS)])
    assert any(test.fires for test in tests)
    assert any(not test.fires for test in tests)

"""The rules as pytest tests, and as a list of outcomes for `omni plugin check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from omni.host.contract.rules import Rule
    from omni.host.contract.subject import Subject
    from omni.host.hookspecs import Offer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one rule."""

    rule: str
    result: Literal["kept", "broken", "skipped", "warning"]
    detail: str = ""


def contract_tests(package: str | Path, *, provide: Callable[[], Iterable[Offer]] = tuple) -> dict[str, Any]:
    """Test functions for a plugin package (its import name, or a folder with its manifest), by name.

    `provide` makes offers that stand in for the plugins it needs.
    """
    import pytest

    from omni.host.contract.rules import CAPABILITY_RULES, PACKAGE_RULES

    tests: dict[str, Any] = {}
    for rule in (*PACKAGE_RULES, *CAPABILITY_RULES):
        made = _test(rule, package, provide, with_models=False)
        tests[f"test_contract_{rule.__name__}"] = pytest.mark.contract(pytest.mark.asyncio(made))
    for rule in CAPABILITY_RULES:
        made = _test(rule, package, provide, with_models=True)
        made.__name__ += "_with_models"
        tests[made.__name__] = pytest.mark.real(pytest.mark.contract(pytest.mark.asyncio(made)))
    return tests


def _test(
    rule: Rule, package: str | Path, provide: Callable[[], Iterable[Offer]], *, with_models: bool
) -> Callable[[], Any]:
    async def test() -> None:
        import pytest

        from omni.host.contract.subject import Subject
        from omni.host.contract.verdicts import NotApplicable

        store = _store() if with_models else None
        with Subject(package, provide=provide(), store=store, with_models=with_models) as subject:
            try:
                await rule(subject)
            except NotApplicable as why:
                pytest.skip(f"{rule.__name__}: {why}")

    test.__name__ = f"test_contract_{rule.__name__}"
    test.__doc__ = rule.__doc__
    return test


def _store() -> Any:
    from omni.catalogue.store import ModelStore
    from omni.config import load_config

    return ModelStore.from_config(load_config())


def check_apart(
    package: str | Path, rules: Iterable[str] = (), *, seconds: float = 300.0, with_models: bool = False
) -> list[Outcome]:
    """`check` in a process of its own, which a plugin may take down: then `survives` is broken."""
    import json
    import subprocess
    import sys

    command = [sys.executable, "-m", "omni.host.contract", str(package), *rules]
    command += ["--with-models"] if with_models else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return [Outcome("survives", "broken", f"the rules were not through after {seconds:g} s")]
    outcomes = [Outcome(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode in (0, 1) and outcomes:
        return [*outcomes, Outcome("survives", "kept")]
    said = done.stderr.strip().splitlines()[-1:]
    return [
        *outcomes,
        Outcome("survives", "broken", f"the process ended with {done.returncode}. {' '.join(said)}".strip()),
    ]


async def check(
    package: str | Path,
    rules: Iterable[str] | None = None,
    *,
    with_models: bool = False,
    provide: Iterable[Offer] = (),
    load_s: float = 20.0,
) -> list[Outcome]:
    """Try the rules (all, or those named) on a plugin and say what became of each."""
    from omni.host.contract.rules import CAPABILITY_RULES, RULES
    from omni.host.contract.subject import Subject

    outcomes = []
    chosen = RULES if rules is None else {name: RULES[name] for name in rules}
    for name, rule in chosen.items():
        for models in (False, True) if with_models and rule in CAPABILITY_RULES else (False,):
            store = _store() if models else None
            label = f"{name} (with models)" if models else name
            with Subject(package, provide=provide, store=store, with_models=models, load_s=load_s) as subject:
                outcomes.append(Outcome(label, *await _result(rule, subject)))
    return outcomes


async def _result(rule: Rule, subject: Subject) -> tuple[Literal["kept", "broken", "skipped"], str]:
    """What became of a rule on this subject, and why."""
    from omni.errors import CapabilityUnavailable, OmniError
    from omni.host.contract.verdicts import Broken, NotApplicable

    try:
        await rule(subject)
    except NotApplicable as why:
        return "skipped", str(why)
    except CapabilityUnavailable as error:
        if subject.manifest.needs or subject.manifest.wants:
            return "skipped", f"it needs another plugin: {error}"
        return "broken", str(error)
    except (Broken, OmniError) as error:
        return "broken", str(error)
    except Exception as error:
        return "broken", f"{type(error).__name__}: {error}"
    return "kept", ""

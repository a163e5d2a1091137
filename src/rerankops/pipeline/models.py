"""Registered versions for people: listed, shown, compared, promoted by hand. The registry's own rules hold."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rerankops.errors import ArtefactDamaged, ArtefactMissing, InputError, PromotionRefused
from rerankops.pipeline.context import Context, log, step
from rerankops.pipeline.incumbent import registry

if TYPE_CHECKING:
    from rerankops.promotion.registry import Registry, Version

_SHORTEST_REASON = 5


def person() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def signed(name: str | None) -> str:
    """Who decides on the command line: the account that runs it, and the name that was typed, which nobody checked."""
    account = person()
    return account if not name or name == account else f"{name} (account {account})"


@step
def listing(context: Context) -> dict[str, Any]:
    """{"model", "champion", "previous", "versions": [...], "problems": [...]}; versions oldest first, each with
    version, aliases, system, state (passed, refused, rejected), created_at, measured, ranker and decision."""
    book = _book(context)
    name = context.settings.registry.model_name
    if book is None:
        return {"model": name, "champion": None, "previous": None, "versions": [], "problems": []}
    state = book.state()
    aliases = _aliases(book)
    return {
        "model": name,
        "champion": state.champion or None,
        "previous": state.previous or None,
        "versions": [_row(version, aliases, bool(state.rejection(version.version))) for version in book.versions()],
        "problems": book.problems(),
    }


@step
def description(context: Context, name: str) -> dict[str, Any]:
    """One version in full, by number or alias: what `listing` has of it, and reasons, rules, lineage, moves, run_id,
    the URI that mlflow.pyfunc loads, and the encoder and retrieval whose signals it needs, in words. Raises
    ArtefactMissing."""
    from rerankops.promotion.flavour import RANKER
    from rerankops.promotion.recording import MODEL
    from rerankops.scoring.ranker import FILE, told_of_encoder, told_of_retrieval

    book = require(context)
    version = book.resolve(name)
    state = book.state()
    verdict = document(book, version, "decision.json")
    fitted = document(book, version, f"{MODEL}/{RANKER}/{FILE}")
    lineage = {key.removeprefix("lineage."): value for key, value in version.tags.items() if key.startswith("lineage.")}
    return {
        **_row(version, _aliases(book), bool(state.rejection(version.version))),
        "model": book.model_name,
        "reasons": list(verdict.get("reasons", ())),
        "rules": [{name: rule[name] for name in ("name", "passed", "words")} for rule in verdict.get("rules", ())],
        "encoder": told_of_encoder(fitted.get("encoder", {})),
        "retrieval": told_of_retrieval(fitted.get("retrieval", {})),
        "lineage": lineage,
        "from": {name: version.tags.get(f"rerankops.{name}", "") for name in ("judgment", "gold", "index", "settings")},
        "moves": [
            move for move in book.audit() if version.version in {move["version"], move["champion"], move["before"]}
        ],
        "run_id": version.run_id,
        "uri": f"models:/{book.model_name}/{version.version}",
    }


@step
def audit(context: Context) -> list[dict[str, Any]]:
    """Every move of the champion, oldest first; see promotion.ledger.Move."""
    book = _book(context)
    return book.audit() if book else []


@step
def promote_by_hand(
    context: Context,
    name: str,
    reason: str,
    *,
    force: bool = False,
    expected_champion: str | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """Makes a version champion because a person says so. name: its number, or an alias.

    expected_champion: the version to be replaced; None is the one that serves when this begins. force: also when the
    gate did not pass it, or somebody turned it down; the audit says that it was forced. Returns version, ranker, before
    and forced.
    Raises PromotionRefused, ArtefactMissing, or InputError when the reason says nothing.
    """
    _refuse_empty(reason)
    book = require(context)
    version, state = book.resolve(name), book.state()
    if state.champion == version.version:
        raise PromotionRefused(f"version {version.version} of {book.model_name!r} is champion already; nothing moved")
    expected = expected_champion or state.champion or None
    needless = version.passed and not state.rejection(version.version)
    now = book.promote(version.version, expected, reason, actor=actor or person(), forced=force and not needless)
    log.info("promoted version %s by hand", now.version)
    return {
        "version": now.version,
        "ranker": now.ranker_address,
        "before": state.champion or None,
        "forced": force and not needless,
    }


@step
def roll_back(
    context: Context,
    reason: str,
    *,
    to: str | None = None,
    expected_champion: str | None = None,
    actor: str | None = None,
    key: str = "",
) -> dict[str, Any]:
    """The previous champion, or the earlier one `to`, becomes champion. expected_champion: as for promote_by_hand; None
    is whichever serves. actor: None is the user of this process. key: names the request, so that a repetition changes
    nothing. Returns version, ranker and reason.

    Raises PromotionRefused when there is nothing to go back to, or InputError when the reason says nothing.
    """
    _refuse_empty(reason)
    book = _book(context)
    if book is None:
        name = context.settings.registry.model_name
        raise PromotionRefused(f"model {name!r} has no champion, so there is nothing to roll back")
    now = book.rollback(reason, actor=actor or person(), to=to, expected_champion=expected_champion, key=key)
    log.info("rolled back to version %s", now.version)
    return {"version": now.version, "ranker": now.ranker_address, "reason": reason}


@step
def retire(context: Context, reason: str, *, actor: str | None = None) -> dict[str, Any]:
    """Goes on without a champion whose version was deleted in MLflow. Returns version and reason.

    Raises PromotionRefused when there is no such champion, or InputError when the reason says nothing.
    """
    _refuse_empty(reason)
    gone = require(context).retire(reason, actor=actor or person())
    log.info("version %s, which was deleted, is champion no more; there is none", gone)
    return {"version": gone, "reason": reason}


def _book(context: Context) -> Registry | None:
    """None when the local store was never made, so that looking at it makes none."""
    if context.settings.registry.tracking_uri is None and not (context.local("mlflow") / "mlflow.db").exists():
        return None
    return registry(context)


def require(context: Context) -> Registry:
    """The registry. Raises ArtefactMissing when the local store was never made."""
    book = _book(context)
    if book is None:
        raise ArtefactMissing(f"model {context.settings.registry.model_name!r} has no versions yet; run retrain first")
    return book


def _aliases(book: Registry) -> dict[str, list[str]]:
    """Aliases of each version; champion and previous as the ledger has them."""
    state = book.state()
    named = {"champion": state.champion, "previous": state.previous, "challenger": state.aliases.get("challenger", "")}
    found: dict[str, list[str]] = {}
    for alias, version in named.items():
        if version:
            found.setdefault(version, []).append(alias)
    return found


def _row(version: Version, aliases: Mapping[str, list[str]], rejected: bool) -> dict[str, Any]:
    state = "rejected" if rejected else "passed" if version.passed else "refused"
    return {
        **told(version),
        "aliases": aliases.get(version.version, []),
        "state": state,
        "created_at": version.created_at,
        "measured": version.measured,
        "ranker": version.ranker_address,
    }


def told(version: Version) -> dict[str, Any]:
    """Which one it is."""
    return {"version": version.version, "system": version.system, "decision": version.decision}


def document(book: Registry, version: Version, name: str) -> dict[str, Any]:
    """What was logged with the version's decision, empty when it is gone or damaged, which the log says."""
    try:
        return book.document(version.version, name)
    except (ArtefactDamaged, ArtefactMissing) as error:
        log.warning("%s", error)
        return {}


def _refuse_empty(reason: str) -> None:
    if len(reason.strip()) < _SHORTEST_REASON:
        raise InputError(
            f"the reason {reason!r} says too little; {_SHORTEST_REASON} characters at least, they are kept"
        )

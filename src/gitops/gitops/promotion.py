"""Offer to the next environment what runs in the one before, as a branch to be merged."""

from dataclasses import dataclass, replace
from typing import Final

from gitops import layout, order, pin, pins
from gitops.errors import GitOpsError, LostRaceError, MovesBackError, RacesLostError
from gitops.git import Identity, Repository
from gitops.order import Order
from gitops.pin import Pin

#: How far back an environment's history is looked through for what it ran before.
_REMEMBERED: Final = 200
#: The commit that the source was seen to run, as a trailer of the promotion's own commit.
_SEEN: Final = "Promoted-From"
#: A branch of the bot's own: only another promotion can be in the way.
_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Move:
    """A service whose pin changes."""

    before: Pin
    after: Pin
    #: The target ran this image already and left it, so somebody went back.
    returns: bool = False

    @property
    def service(self) -> str:
        """Whose pin it is."""
        return self.after.service


@dataclass(frozen=True)
class Promotion:
    """What a promotion holds. ``commit`` is the tip of its branch, None when it holds nothing."""

    source: str
    target: str
    branch: str
    base: str
    commit: str | None
    moves: tuple[Move, ...]
    #: An open promotion holds newer images, and was left as it is.
    overtaken: bool = False

    @property
    def returns(self) -> tuple[str, ...]:
        """The services of which the target would get again what it was taken back from."""
        return tuple(move.service for move in self.moves if move.returns)


def plan(
    repository: Repository, *, source: str, target: str, base: str, at: str
) -> tuple[Move, ...]:
    """What ``target`` on ``base`` lacks of what ``source`` runs by the commit ``at``.

    Raises:
        MovesBackError: the target is ahead; names the services.
    """
    refuse_detours(source, target)
    offered, current = pins.of(repository, at, source), pins.of(repository, base, target)
    released = [one for one in layout.SERVICES if offered[one].released]
    orders = {one: order.compare(repository, current[one], offered[one]) for one in released}
    if back := tuple(one for one in released if orders[one] is Order.OLDER):
        raise MovesBackError(back, source, target)
    return tuple(
        Move(current[one], offered[one], _ran(repository, base, offered[one], target))
        for one in released
        if orders[one] is Order.NEWER
    )


def after(environment: str) -> str:
    """The environment that a change meets next.

    Raises:
        GitOpsError: there is none.
    """
    place = layout.ENVIRONMENTS.index(environment) + 1
    if place == len(layout.ENVIRONMENTS):
        raise GitOpsError(f"{environment} is the last environment; nothing comes after it")
    return layout.ENVIRONMENTS[place]


def refuse_detours(source: str, target: str) -> None:
    """A change meets each environment, in their order.

    Raises:
        GitOpsError: ``target`` is not the environment after ``source``.
    """
    steps = list(zip(layout.ENVIRONMENTS, layout.ENVIRONMENTS[1:], strict=False))
    if (source, target) not in steps:
        ways = " and ".join(f"from {one} to {other}" for one, other in steps)
        raise GitOpsError(f"promotions go {ways}, not from {source} to {target}")


def promote(
    repository: Repository,
    *,
    source: str,
    target: str,
    main: str,
    identity: Identity,
    at: str | None = None,
) -> Promotion:
    """Put the branch of the promotion where it belongs: made, replaced, left, or taken away.

    ``at`` is the commit that the source was seen to run; without it, what ``main`` says now.

    Raises:
        MovesBackError: the target is ahead of the source.
        RacesLostError: another promotion to the same target was always faster.
    """
    branch = layout.promotion_branch(target)
    for _ in range(_ATTEMPTS):
        base = repository.fetch(main)
        if base is None:
            raise GitOpsError(f"{repository.remote} has no branch {main}")
        seen = repository.resolve(at) if at else base
        if not repository.is_ancestor(seen, base):
            raise GitOpsError(f"{seen[:12]} is not on {main}, so nothing of it can be promoted")
        moves = plan(repository, source=source, target=target, base=base, at=seen)
        made = Promotion(source, target, branch, base, None, moves)
        try:
            return _place(repository, made, seen=seen, identity=identity)
        except LostRaceError:
            continue
    raise RacesLostError(branch, _ATTEMPTS)


def _place(
    repository: Repository, wanted: Promotion, *, seen: str, identity: Identity
) -> Promotion:
    open_one = repository.fetch(wanted.branch)
    if open_one and _knows_more(repository, open_one, seen):
        return replace(wanted, commit=open_one, overtaken=True)
    if not wanted.moves:
        if open_one:
            # It would offer what the source does not run any more.
            repository.replace(None, wanted.branch, expected=open_one)
        return wanted
    if open_one and _offers(repository, open_one, wanted):
        # Left alone, reviews of it stay.
        return replace(wanted, commit=open_one)
    commit = repository.commit(
        wanted.base,
        {
            layout.release(move.service, wanted.target): pin.write(move.after)
            for move in wanted.moves
        },
        message=_message(wanted, seen),
        identity=identity,
    )
    repository.replace(commit, wanted.branch, expected=open_one)
    return replace(wanted, commit=commit)


def _knows_more(repository: Repository, open_one: str, seen: str) -> bool:
    """Whether an open promotion was made from a later commit: messages overtake each other."""
    theirs = repository.trailer(open_one, _SEEN)
    if theirs is None or theirs == seen:
        return False
    return repository.is_ancestor(seen, theirs)


def _offers(repository: Repository, open_one: str, wanted: Promotion) -> bool:
    """Whether an open promotion, merged now, gives just what is wanted."""
    after = {move.service: move.after for move in wanted.moves}
    now = pins.of(repository, wanted.base, wanted.target)
    theirs = pins.of(repository, open_one, wanted.target)
    its_base = pins.of(repository, f"{open_one}^", wanted.target)
    return theirs == {**now, **after} and its_base == now


def _ran(repository: Repository, base: str, offered: Pin, target: str) -> bool:
    path = layout.release(offered.service, target)
    wanted = pin.write(offered)
    history = repository.log(None, base, path, limit=_REMEMBERED)
    return any(repository.read(entry.commit, path) == wanted for entry in history)


def _message(promotion: Promotion, seen: str) -> str:
    lines = "\n".join(
        f"{move.service}: {move.after.tag} {move.after.digest}" for move in promotion.moves
    )
    return f"{title(promotion)}\n\n{lines}\n\n{_SEEN}: {seen}\n"


def title(promotion: Promotion) -> str:
    """One line that says what is promoted."""
    names = ", ".join(move.service for move in promotion.moves)
    return f"Promote {names} from {promotion.source} to {promotion.target}"

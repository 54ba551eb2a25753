"""Create the branch that promotes images and bases from one environment to the next."""

from dataclasses import dataclass, replace
from typing import Final

from gitops import configuration, layout, order, pin, pins, snapshot
from gitops.configuration import Configuration
from gitops.errors import (
    DowngradeError,
    GitOpsError,
    InvalidPinError,
    LostRaceError,
    RacesLostError,
)
from gitops.git import Identity, Repository
from gitops.order import Order
from gitops.pin import Pin

#: The number of commits to search for earlier versions of an environment's pin.
_HISTORY_LIMIT: Final = 200
#: The trailer of a promotion commit that names the commit which the source environment runs.
_SOURCE_TRAILER: Final = "Promoted-From"
#: Only another promotion writes to this branch, so a few attempts are enough.
_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Move:
    """The change of one service's pin."""

    before: Pin
    after: Pin
    #: The target already ran the new image before and was rolled back from it.
    previously_deployed: bool = False

    @property
    def service(self) -> str:
        """The name of the service."""
        return self.after.service


@dataclass(frozen=True)
class Promotion:
    """A promotion. ``commit`` is the head of its branch, or None if there is nothing to promote."""

    source: str
    target: str
    branch: str
    base: str
    commit: str | None
    moves: tuple[Move, ...]
    #: The bases that move together with the images.
    configuration: Configuration = Configuration()  # noqa: RUF009 -- it is frozen
    #: The branch already contains a newer promotion, which was not changed.
    superseded: bool = False

    @property
    def files(self) -> dict[str, bytes | None]:
        """The files that the commit writes. None deletes a file."""
        releases: dict[str, bytes | None] = {
            layout.release(move.service, self.target): pin.write(move.after) for move in self.moves
        }
        return {**self.configuration.files, **releases}

    @property
    def rolled_back(self) -> tuple[str, ...]:
        """The services whose new image was already deployed to the target and rolled back."""
        return tuple(move.service for move in self.moves if move.previously_deployed)


def plan(
    repository: Repository, *, source: str, target: str, base: str, at: str
) -> tuple[Move, ...]:
    """The pins to change in ``target`` so that it runs what ``source`` runs.

    ``base`` is the commit from which the target's pins are read, ``at`` the commit of the source's.

    Raises:
        DowngradeError: the target runs a newer commit; names the services.
    """
    require_next_environment(source, target)
    offered, current = pins.of(repository, at, source), pins.of(repository, base, target)
    released = [service for service in layout.SERVICES if offered[service].released]
    orders = {
        service: order.compare(repository, current[service], offered[service])
        for service in released
    }
    if older := tuple(service for service in released if orders[service] is Order.OLDER):
        raise DowngradeError(older, source, target)
    return tuple(
        Move(
            current[service],
            offered[service],
            _previously_deployed(repository, base, offered[service], target),
        )
        for service in released
        if orders[service] is Order.NEWER
    )


def next_environment(environment: str) -> str:
    """The environment after this one, in the order of promotion.

    Raises:
        GitOpsError: this is the last environment.
    """
    index = layout.ENVIRONMENTS.index(environment) + 1
    if index == len(layout.ENVIRONMENTS):
        raise GitOpsError(f"{environment} is the last environment; there is no next environment")
    return layout.ENVIRONMENTS[index]


def require_next_environment(source: str, target: str) -> None:
    """Refuse a promotion that skips an environment or goes back.

    Raises:
        GitOpsError: ``target`` is not the environment after ``source``.
    """
    steps = list(zip(layout.ENVIRONMENTS, layout.ENVIRONMENTS[1:], strict=False))
    if (source, target) not in steps:
        allowed = " and ".join(f"from {first} to {second}" for first, second in steps)
        raise GitOpsError(f"promotions go {allowed}, not from {source} to {target}")


def promote(
    repository: Repository,
    *,
    source: str,
    target: str,
    main: str,
    identity: Identity,
    at: str | None = None,
) -> Promotion:
    """Create, replace, keep or delete the branch of a promotion.

    ``at`` is the commit that the source environment runs (default: the head of ``main``).

    Raises:
        DowngradeError: the target runs a newer commit than the source.
        RacesLostError: another promotion to the same target won the race in every attempt.
    """
    branch = layout.promotion_branch(target)
    for _ in range(_ATTEMPTS):
        base = repository.fetch(main)
        if base is None:
            raise GitOpsError(f"{repository.remote} has no branch {main}")
        deployed = repository.resolve(at) if at else base
        if not repository.is_ancestor(deployed, base):
            raise GitOpsError(f"{deployed[:12]} is not on {main}, so it cannot be promoted")
        moves = plan(repository, source=source, target=target, base=base, at=deployed)
        files = configuration.plan(repository, source=source, target=target, base=base, at=deployed)
        wanted = Promotion(source, target, branch, base, None, moves, files)
        try:
            return _update_branch(repository, wanted, deployed=deployed, identity=identity)
        except LostRaceError:
            continue
    raise RacesLostError(branch, _ATTEMPTS)


def _update_branch(
    repository: Repository, wanted: Promotion, *, deployed: str, identity: Identity
) -> Promotion:
    existing = repository.fetch(wanted.branch)
    if existing and _is_newer(repository, existing, deployed):
        return replace(wanted, commit=existing, superseded=True)
    if not wanted.files:
        if existing:
            # The branch would promote what the source no longer runs.
            repository.replace(None, wanted.branch, expected=existing)
        return wanted
    if existing and _has_same_files(repository, existing, wanted):
        # Keep the commit, so that its reviews stay valid.
        return replace(wanted, commit=existing)
    commit = repository.commit(
        wanted.base,
        wanted.files,
        message=_message(wanted, deployed),
        identity=identity,
    )
    repository.replace(commit, wanted.branch, expected=existing)
    return replace(wanted, commit=commit)


def _is_newer(repository: Repository, existing: str, deployed: str) -> bool:
    """Whether the existing promotion has a newer source. Argo CD's messages can arrive late."""
    existing_source = repository.trailer(existing, _SOURCE_TRAILER)
    if existing_source is None or existing_source == deployed:
        return False
    return repository.is_ancestor(deployed, existing_source)


def _has_same_files(repository: Repository, existing: str, wanted: Promotion) -> bool:
    """Whether merging the existing promotion now gives exactly the wanted files.

    The revision of a snapshot does not count: the same files can be copied from a later commit.
    """
    return all(
        repository.read(existing, path)
        == wanted.files.get(path, repository.read(wanted.base, path))
        and repository.read(f"{existing}^", path) == repository.read(wanted.base, path)
        for path in {*repository.changed_by(existing), *wanted.files}
        if not path.endswith(f"/snapshot/{snapshot.REVISION}")
    )


def _previously_deployed(repository: Repository, base: str, offered: Pin, target: str) -> bool:
    """Whether the target's pin had this content before. A comment in the file does not count."""
    path = layout.release(offered.service, target)
    history = repository.log(None, base, path, limit=_HISTORY_LIMIT)
    contents = (repository.read(entry.commit, path) for entry in history)
    return any(content is not None and _same_pin(content, offered, path) for content in contents)


def _same_pin(content: bytes, offered: Pin, path: str) -> bool:
    try:
        return pin.read(content, path=path) == offered
    except InvalidPinError:
        return False


def _message(promotion: Promotion, deployed: str) -> str:
    lines = [f"{move.service}: {move.after.tag} {move.after.digest}" for move in promotion.moves]
    lines += [f"{app}: configuration" for app in promotion.configuration.apps]
    text = "\n".join(lines)
    return f"{title(promotion)}\n\n{text}\n\n{_SOURCE_TRAILER}: {deployed}\n"


def title(promotion: Promotion) -> str:
    """The title of the pull request and of the commit."""
    names = ", ".join(move.service for move in promotion.moves)
    apps = ", ".join(promotion.configuration.apps)
    if not names:
        names = f"the configuration of {apps}"
    elif apps:
        names += " with configuration"
    return f"Promote {names} from {promotion.source} to {promotion.target}"

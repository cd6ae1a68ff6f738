"""Several corpora as one, for training on all of them and for leaving one out."""

from __future__ import annotations

from pathlib import Path

from ser_toolkit.corpora.base import Corpus, Listing
from ser_toolkit.errors import CorpusError, RecipeError, nearest

#: How far a parser was checked, the least first; anything else (own data) comes before them.
_VERIFIED = ("synthetic", "documentation only", "real metadata", "real audio")


class Combined(Corpus):
    """Several corpora as one: EmoDB and CREMA-D under a common folder, or each where it lies.

    Every copy is checked by itself. Ids, speakers, sessions, dialogues and sentences get their corpus's name in front
    (``EmoDB/03``), ratings are scaled to [0, 1] with the range of their corpus, and the classes are those of all
    members in their order; ``data.labels=Mapped`` brings them to a common set. The labels are each corpus's own.

    Args:
        members: the corpora, each once.
        roots: folder by corpus name, absolute or relative to ``data.root``; a corpus that is not named here lies in
            ``data.root``/name.
    """

    name = "Combined"
    licence = "as stated by each corpus"
    citation = "of each corpus"
    verified = "as each of its members"
    label_rule = "each corpus's own"
    default_protocol = "LeaveOneCorpusOut"

    def __init__(self, members: list[Corpus], roots: dict[str, str] | None = None) -> None:
        names = [member.name for member in members]
        if len(members) < 2 or len(set(names)) < len(names):
            raise RecipeError(
                f"Combined: members are {', '.join(names) or 'missing'}. Give at least two different corpora: "
                "data.corpus=Combined data.corpus.members=[EmoDB,CREMAD]"
            )
        for given in roots or {}:
            if given not in names:
                raise RecipeError(f"Combined: roots names {given!r}, which is no member. {nearest(given, names)}")
        self.members = list(members)
        self.roots = dict(roots or {})
        # Facts of this combination in place of those of the class, which ser-corpus list shows.
        self.name = "+".join(names)
        self.licence = self._each("licence")
        self.citation = self._each("citation")
        self.label_rule = self._each("label_rule")
        self.verified = min((member.verified for member in members), key=_certainty)

    def _each(self, fact: str) -> str:
        return "; ".join(f"{member.name}: {getattr(member, fact)}" for member in self.members)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of all members, in the order of the members."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.classes))

    @property
    def default_root(self) -> Path | None:
        """The working directory, where every member has a folder of its own."""
        at_home = all(member.name in self.roots or member.default_root for member in self.members)
        return Path.cwd() if at_home else None

    def members_in(self, root: Path) -> dict[str, tuple[Corpus, Path]]:
        """The members by name, each with its folder.

        Raises:
            CorpusError: a folder is not there.
        """
        found: dict[str, tuple[Corpus, Path]] = {}
        for member in self.members:
            own = member.default_root if member.name not in self.roots else None
            folder = own or root / Path(self.roots.get(member.name, member.name)).expanduser()
            if own is None and not folder.is_dir():  # one that knows its place makes it where it is missing
                raise CorpusError(
                    f"{self.name}: {member.name} is not at {folder}. Put it there, or say where it lies: "
                    f"data.corpus.roots.{member.name}=PATH"
                )
            found[member.name] = (member, folder)
        return found

    def read(self, root: Path) -> Listing:
        """Not here: the members are listed and checked one by one (``prepare.manifest_of``), then joined."""
        raise CorpusError(f"{self.name}: several corpora have no list of their own. Use manifest_of.")


def _certainty(verified: str) -> int:
    return _VERIFIED.index(verified) if verified in _VERIFIED else -1

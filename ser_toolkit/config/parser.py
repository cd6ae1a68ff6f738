"""jsonargparse as commands use it: errors of one line, which name the key, what was found and what would fit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn

import jsonargparse
import yaml

from ser_toolkit.config.arguments import Command
from ser_toolkit.config.explain import diagnose
from ser_toolkit.errors import RecipeError


class RecipeParser(jsonargparse.ArgumentParser):
    """An argument parser of jsonargparse whose errors take one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the parser's message as a RecipeError instead of printing 55 lines of usage."""
        raise RecipeError(first_reason(message)) from ex

    def dump_plain(self, config: jsonargparse.Namespace) -> dict[str, Any]:
        """The configuration as plain dictionaries, lists, numbers and text."""
        return yaml.safe_load(self.dump(config, skip_unset=False))

    def parse_or_explain(self, command: Command, added: Sequence[str] = ()) -> jsonargparse.Namespace:
        """Parse a command; explain from the signatures of the parts why it is refused.

        Args:
            command: of the user.
            added: arguments behind those of the command, which are not explained.

        Raises:
            RecipeError: a key, a part or a value is unknown or does not fit (the nearest names are given).
        """
        try:
            return self.parse_args([*command.arguments, *added])
        except Exception as error:  # a user's own part may raise anything when it is imported
            vars(self).pop("print_config", None)  # asked for with the mistake: the next command did not
            reason = diagnose(self, command) or (str(error) if isinstance(error, RecipeError) else None)
            if reason is None:
                raise
            raise RecipeError(reason) from error


def first_reason(message: str) -> str:
    """A parser's message in one line, without what every other type would have wanted."""
    line = " ".join(message.split())
    line = re.sub(r"Does not validate against any of the Union subtypes.*?Given value:", "unexpected value", line)
    return line if len(line) <= 400 else line[:397] + "..."

"""Names of loggers by the unit that they log, so that folds and seeds do not end up in one curve."""

from __future__ import annotations

from typing import Any

import jsonargparse

#: Options that name a run, by logger, in the order of preference. In a version a slash is a folder.
_NAMES = {
    "CSVLogger": "version",
    "TensorBoardLogger": "version",
    "WandbLogger": "name",
    "MLFlowLogger": "run_name",
    "CometLogger": "name",
}


def name_loggers(logger: Any, label: str) -> Any:
    """Give loggers without a name of their own the name of a unit.

    Args:
        logger: of the trainer's configuration: classes with their options, one or a list, or true, false, null.
        label: of the unit, such as ``plain/fold=08/seed=0``.

    Returns:
        ``logger``, changed in place.
    """
    for one in logger if isinstance(logger, list) else [logger]:
        if isinstance(one, jsonargparse.Namespace) and "class_path" in one:
            option = _NAMES.get(one.class_path.rpartition(".")[2])
            options = one.get("init_args")
            if option is not None and options is not None and options.get(option) is None:
                options[option] = label
    return logger

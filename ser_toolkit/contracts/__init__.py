"""Contract checks of every kind of part, for shipped classes and for one's own.

``ser-train --check my_parts.MidRange`` runs them on the command line, ``check_part`` of ``run`` from Python; the tests
of this repository run the same checks on every part that ships. A check is a function of a ``make`` that gives a fresh
part: it returns when the part keeps to it and raises ContractError otherwise, with what was found and what to
write. The function's name is what is printed.
"""
